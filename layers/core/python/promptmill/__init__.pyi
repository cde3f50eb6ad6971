from promptmill.client.client import Client as Client
from promptmill.client.client import Job as Job

__version__: str
