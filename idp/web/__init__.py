"""Pages and endpoints: the only place where Flask lives. Views read a form, call one function, draw a page."""
