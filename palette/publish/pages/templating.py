"""The pages' templates, of the folders `templates`."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(name: str, package: str = "palette.publish") -> Template:
    """The template of that file in a package. What is put in is escaped; a name that is not given is an error."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
