"""The two Python clients, called alike: an operation by its id, a schema by its name."""

import importlib
import re


class OpenapiGenerator:
    """The client that openapi-generator makes: a class for each tag, and a method for each operation."""

    PACKAGE = "made_by_openapi_generator"

    def __init__(self, url, tags):
        self.url, self.tags, self.called = url, tags, set()
        self.package = importlib.import_module(self.PACKAGE)

    def call(self, login, operation, body=None, **arguments):
        """Gives what was answered, which must be a success."""
        configuration = self.package.Configuration(host=self.url, access_token=login)
        api = getattr(self.package, f"{self.tags[operation]}Api")(self.package.ApiClient(configuration))
        if body is not None:
            arguments[snake_case(type(body).__name__)] = body
        # It raises an exception for every status that is no success.
        answer = getattr(api, f"{snake_case(operation)}_with_http_info")(**arguments)
        self.called.add(operation)
        return answer.data

    def form(self, login, operation, _, value, **arguments):
        """The same, with a form as body. This client has its fields as arguments."""
        return self.call(login, operation, **arguments, **value)

    def schema(self, name, value):
        # `from_dict` would make `null` of what is absent, which is another thing in a merge patch.
        return getattr(self.package, name).model_validate(value)

    def content(self, archive):
        return archive


class OpenapiPythonClient:
    """The client that openapi-python-client makes: a module for each operation."""

    PACKAGE = "made_by_openapi_python_client"

    def __init__(self, url, tags):
        self.url, self.tags, self.called = url, tags, set()
        self.package = importlib.import_module(self.PACKAGE)
        self.models = importlib.import_module(f"{self.PACKAGE}.models")

    def call(self, login, operation, **arguments):
        """Gives what was answered, which must be a success."""
        module = importlib.import_module(f"{self.PACKAGE}.api.{self.tags[operation].lower()}.{snake_case(operation)}")
        if login is None:
            client = self.package.Client(base_url=self.url)
        else:
            client = self.package.AuthenticatedClient(base_url=self.url, token=login)
        answer = module.sync_detailed(client=client, **arguments)
        if not 200 <= answer.status_code < 300:
            raise AssertionError(f"{operation}: {answer}")
        self.called.add(operation)
        return answer.parsed

    def form(self, login, operation, name, value, **arguments):
        """The same, with a form as body, which has a schema."""
        return self.call(login, operation, **arguments, body=self.schema(name, value))

    def schema(self, name, value):
        return getattr(self.models, name).from_dict(value)

    def content(self, archive):
        return archive.payload.read()


def snake_case(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
