"""The pages' templates, of the folder `templates`."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(name: str) -> Template:
    """The template of that file. What is put in is escaped; a name that is not given is an error."""
    environment = Environment(
        loader=PackageLoader("palette.publish"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
