"""OpenID Connect: the rules of the protocol in framework-free functions, and Authlib's server at the token endpoint."""
