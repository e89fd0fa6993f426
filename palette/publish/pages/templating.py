"""Templates of the pages, from `templates` folders."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(name: str, package: str = "palette.publish") -> Template:
    """Return the template of that file in a package. Inserted values are escaped; an undefined name is an error."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
