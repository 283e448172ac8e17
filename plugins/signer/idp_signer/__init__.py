"""The local program that lets a web page ask a person's card for one sign-in.

It stands alone: it knows neither the provider nor its database, only a PKCS#11 module, the person in
front of the machine and the origins they accept.
"""

from importlib.metadata import version

__version__ = version("poterne-signer")
