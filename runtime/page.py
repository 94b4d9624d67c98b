"""The website alone: each service is a process of its own, and a proxy brings them behind one address.

.venv/bin/python -m runtime.page
"""

from conf.settings import load_settings
from runtime.web import create_app
from service.app import serve

if __name__ == "__main__":
    serve(create_app(load_settings(), services=()))
