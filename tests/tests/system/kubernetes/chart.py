"""Checks of rendered manifests.

chart.py same BASE CHART      fails unless both have the same resources, apart from names that only one of them can have
chart.py data FILE KIND NAME KEY   prints a key of `data` of a resource, or the first argument of a container
"""

import re
import sys

import yaml


def resources(path):
    return [it for it in yaml.safe_load_all(open(path)) if it]


def plain(it):
    """The resource without its namespace, sums of configurations and versions of images."""
    text = yaml.safe_dump(it)
    text = re.sub(r"\n *(namespace|aqueduct/config): .*", "", text)
    text = re.sub(r"(image: aqueduct-\w+):.*", r"\1", text)
    # Kustomize ends the name of a ConfigMap with a hash.
    text = re.sub(r"(name: (?:edge|collector|hadoop))-[a-z0-9]{10}\n", r"\1\n", text)
    return yaml.safe_load(text)


def same(base, chart):
    sides = [{(it["kind"], it["metadata"]["name"]): it for it in map(plain, resources(path))} for path in (base, chart)]
    sides[0].pop(("Namespace", "aqueduct"))
    assert sides[0].keys() == sides[1].keys(), sides[0].keys() ^ sides[1].keys()
    for name, resource in sides[0].items():
        assert resource == sides[1][name], f"{name}:\n{yaml.safe_dump(resource)}\n{yaml.safe_dump(sides[1][name])}"


def data(path, kind, name, key):
    resource = next(it for it in resources(path) if (it["kind"], it["metadata"]["name"]) == (kind, name))
    if kind == "ConfigMap":
        return resource["data"][key]
    pod = resource["spec"]["template"]["spec"]
    return next(it for it in pod["containers"] + pod["initContainers"] if it["name"] == key)["args"][0]


if sys.argv[1] == "same":
    same(*sys.argv[2:])
else:
    print(data(*sys.argv[2:]))
