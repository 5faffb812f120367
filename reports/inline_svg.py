"""A figure's SVG as a part of the page: it takes the page's colours and fonts, and is small."""

import re
from xml.etree import ElementTree

from reports.marks import THEME

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_FONT = re.compile(r"font-family: [^;]+;? ?")
_OPACITY = re.compile(r"(^|;)opacity:([\d.]+)")
_KEPT = frozenset(_SVG + name for name in ("g", "defs", "path", "use", "text", "tspan", "clipPath", "rect"))
_SHORTENED = ("d", "x", "y", "width", "height", "transform")


def inline(svg: bytes, *, title: str, description: str) -> str:
    """Markup for an HTML page of an SVG that matplotlib wrote, named for screen readers.

    Colours become the variables of the page's style sheet (marks.THEME), so that it follows the theme; the white
    background goes. Every text is escaped again by the writer. Cost: linear in the size.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag not in _KEPT:
                parent.remove(child)
    _drop_background(root)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        _adapt(element)
    for group in root.iter("g"):
        _share_style(group)
    _drop_unused_names(root)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-labelledby": "figure-title figure-description"}
    for position, (tag, words) in enumerate((("title", title), ("desc", description))):
        named = ElementTree.Element(tag, {"id": f"figure-{'title' if tag == 'title' else 'description'}"})
        named.text = words
        root.insert(position, named)
    return ElementTree.tostring(root, encoding="unicode")


def _drop_background(root: ElementTree.Element) -> None:
    """The first patch of the figure is its white page."""
    for group in root.iter(_SVG + "g"):
        for child in list(group):
            if child.get("id") == "patch_1":
                group.remove(child)
                return


def _adapt(element: ElementTree.Element) -> None:
    """Variables for colours, the page's font for text, two decimals for numbers, plain links."""
    if _LINK in element.attrib:
        element.set("href", element.attrib.pop(_LINK))
    style = element.get("style")
    if style is not None:
        style = _COLOUR.sub(_variable, _FONT.sub("", style))
        element.set("style", style.replace(": ", ":").replace("; ", ";").rstrip(";"))
    for name in _SHORTENED:
        value = element.get(name)
        if value is not None:
            element.set(name, _NUMBER.sub(lambda m: f"{float(m[0]):.2f}", value).replace("\n", " ").strip())
    for content in ("text", "tail"):
        if element.tag != "text" and element.tag != "tspan" and not (getattr(element, content) or "").strip():
            setattr(element, content, None)


def _variable(colour: re.Match[str]) -> str:
    name = THEME.get(colour[0])
    return colour[0] if name is None else f"var(--{name})"


def _share_style(group: ElementTree.Element) -> None:
    """Marks of one series repeat one style: it goes on their group, with an opacity that each still has to itself."""
    uses = [child for child in group if child.tag == "use"]
    styles = {child.get("style") for child in uses}
    if len(uses) > 1 and len(uses) == len(group) and len(styles) == 1 and not group.get("style"):
        style = styles.pop()
        for child in uses:
            child.attrib.pop("style", None)
        if style:
            group.set("style", _OPACITY.sub(r"\1fill-opacity:\2;stroke-opacity:\2", style))


def _drop_unused_names(root: ElementTree.Element) -> None:
    """Matplotlib names every element: only what is linked to, or named by us, keeps its name."""
    written = ElementTree.tostring(root, encoding="unicode")
    linked = set(re.findall(r"(?:#|url\(#)([\w-]+)", written))
    for element in root.iter():
        name = element.get("id")
        if name is not None and name not in linked and "_" in name:
            del element.attrib["id"]
