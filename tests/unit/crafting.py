"""What an attacker does to the description in a model file."""


def nodes_of(schema, way):
    """Give the nodes of a description that are loaded in this way."""
    found, waiting = [], [schema]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            found += [item] if item.get("__loader__") == way else []
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return found
