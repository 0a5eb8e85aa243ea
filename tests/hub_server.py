"""A small Hugging Face Hub on 127.0.0.1, run as a process of its own: what its client needs to push and load a dataset.

    python tests/hub_server.py FOLDER          prints its address; FOLDER gets the files, as FOLDER/OWNER/NAME/...

Tokens are `hf_good` and, of somebody who may not write, `hf_reader`. `/_state` tells what it saw; `/_faults` with
`{"commit": [503, 500], "preupload": [...]}` makes the next requests of a kind fail. Large files come by git-lfs, or by
xet with a store in FOLDER, which the client's own library writes to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

LARGE = 4096
"""Bytes from which a file isn't sent within a commit."""


class Hub:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repos: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, list[int]] = {}
        self.seen: Counter[str] = Counter()
        self.address = ""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**30, middlewares=[self.watched])
        add = app.router
        add.add_get("/_state", self.state)
        add.add_post("/_faults", self.set_faults)
        add.add_post("/api/validate-yaml", self.validate)
        add.add_post("/api/repos/create", self.create)
        add.add_get("/api/datasets/{owner}/{name}", self.info)
        add.add_get("/api/datasets/{owner}/{name}/revision/{revision}", self.info)
        add.add_get("/api/datasets/{owner}/{name}/tree/{revision}", self.tree)
        add.add_get("/api/datasets/{owner}/{name}/tree/{revision}/{path:.*}", self.tree)
        add.add_post("/api/datasets/{owner}/{name}/paths-info/{revision}", self.paths)
        add.add_post("/api/datasets/{owner}/{name}/preupload/{revision}", self.preupload)
        add.add_get("/api/datasets/{owner}/{name}/xet-write-token/{revision}", self.xet)
        add.add_get("/api/datasets/{owner}/{name}/xet-read-token/{revision}", self.xet)
        add.add_post("/datasets/{owner}/{name}.git/info/lfs/objects/batch", self.lfs)
        add.add_put("/_lfs/{oid}", self.put)
        add.add_post("/_verify", self.verify)
        add.add_post("/api/datasets/{owner}/{name}/commit/{revision}", self.commit)
        add.add_get("/datasets/{owner}/{name}/resolve/{revision}/{path:.*}", self.resolve)
        return app

    @web.middleware
    async def watched(self, request: web.Request, handler: Any) -> web.StreamResponse:
        kind = request.match_info.handler.__name__
        self.seen[kind] += 1
        if waiting := self.faults.get(kind):
            status = waiting.pop(0)
            return web.json_response({"error": f"fault {status}"}, status=status, headers={"Retry-After": "0"})
        if request.path.startswith(("/api", "/datasets")):
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in ("hf_good", "hf_reader"):
                said = {"X-Error-Message": "Invalid credentials in Authorization header"}
                return web.json_response({"error": "Invalid credentials"}, status=401, headers=said)
            if token == "hf_reader" and kind in ("create", "preupload", "commit", "lfs"):
                return web.json_response({"error": "no write access"}, status=403)
        return await handler(request)

    def repo(self, request: web.Request) -> dict[str, Any]:
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        if name not in self.repos:
            text = json.dumps({"error": "Repository not found"})
            raise web.HTTPNotFound(text=text, headers={"X-Error-Code": "RepoNotFound"})
        return self.repos[name]

    async def state(self, request: web.Request) -> web.Response:
        repos = {
            name: {k: v for k, v in repo.items() if k != "files"} | {"files": sorted(repo["files"])}
            for name, repo in self.repos.items()
        }
        return web.json_response({"seen": self.seen, "repos": repos})

    async def set_faults(self, request: web.Request) -> web.Response:
        self.faults = await request.json()
        self.seen.clear()
        return web.json_response({})

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repos:
            said = {"error": "You already created this dataset repo", "url": f"{self.address}/datasets/{name}"}
            return web.json_response(said, status=409)
        self.repos[name] = {"private": asked.get("visibility") == "private", "commits": [], "files": {}}
        return web.json_response({"url": f"{self.address}/datasets/{name}", "name": name})

    async def validate(self, request: web.Request) -> web.Response:
        front = yaml.safe_load((await request.json())["content"].split("---\n")[1])
        if not isinstance(front.get("license"), str):
            return web.json_response({"errors": [{"message": '"license" must be a string'}]}, status=400)
        return web.json_response({"errors": [], "warnings": []})

    async def info(self, request: web.Request) -> web.Response:
        repo = self.repo(request)
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        return web.json_response({
            "id": name, "sha": (repo["commits"] or [{"oid": "0" * 40}])[-1]["oid"], "private": repo["private"],
            "siblings": [{"rfilename": path} for path in sorted(repo["files"])], "tags": [], "downloads": 0,
        })  # fmt: skip

    def _entry(self, path: str, facts: dict[str, Any]) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "size": facts["size"], "oid": facts["oid"]}
        if facts["lfs"]:
            entry["lfs"] = {"oid": facts["sha256"], "size": facts["size"], "pointerSize": 130}
        return entry

    async def tree(self, request: web.Request) -> web.Response:
        files, under = self.repo(request)["files"], request.match_info.get("path", "").strip("/")
        prefix, deep = f"{under}/" if under else "", request.query.get("recursive", "").lower() in ("true", "1")
        found: dict[str, dict[str, Any]] = {}
        for path, facts in sorted(files.items()):
            if path.startswith(prefix):
                first, slash, _ = path.removeprefix(prefix).partition("/")
                if slash:
                    found.setdefault(
                        prefix + first, {"type": "directory", "path": prefix + first, "size": 0, "oid": "0" * 40}
                    )
                if deep or not slash:
                    found[path] = self._entry(path, facts)
        if under and not found:
            raise web.HTTPNotFound(text="{}", headers={"X-Error-Code": "EntryNotFound"})
        return web.json_response(list(found.values()))

    async def paths(self, request: web.Request) -> web.Response:
        files = self.repo(request)["files"]
        wanted = (await request.json() if request.content_type == "application/json" else await request.post())["paths"]
        wanted = [wanted] if isinstance(wanted, str) else wanted
        found = [self._entry(path, files[path]) for path in wanted if path in files]
        folders = {p for p in wanted if any(f.startswith(f"{p}/") for f in files)}
        return web.json_response(
            found + [{"type": "directory", "path": p, "size": 0, "oid": "0" * 40} for p in folders]
        )

    async def preupload(self, request: web.Request) -> web.Response:
        files = self.repo(request)["files"]
        asked = (await request.json())["files"]
        return web.json_response({"files": [
            {"path": f["path"], "uploadMode": "lfs" if f["size"] >= LARGE else "regular", "shouldIgnore": False,
             "oid": files.get(f["path"], {}).get("remote_oid")}
            for f in asked
        ]})  # fmt: skip

    async def xet(self, request: web.Request) -> web.Response:
        self.repo(request)
        store = self.folder / ".xet"
        store.mkdir(exist_ok=True)
        facts = {"casUrl": f"local://{store}", "exp": int(time.time()) + 3600, "accessToken": "xet"}
        headers = {
            "X-Xet-Cas-Url": facts["casUrl"],
            "X-Xet-Token-Expiration": str(facts["exp"]),
            "X-Xet-Access-Token": "xet",
        }
        return web.json_response(facts, headers=headers)

    async def lfs(self, request: web.Request) -> web.Response:
        self.repo(request)
        objects = []
        for each in (await request.json())["objects"]:
            entry = {"oid": each["oid"], "size": each["size"]}
            if not (self.folder / ".lfs" / each["oid"]).exists():
                entry["actions"] = {
                    "upload": {"href": f"{self.address}/_lfs/{each['oid']}"},
                    "verify": {"href": f"{self.address}/_verify"},
                }
            objects.append(entry)
        return web.json_response({"transfer": "basic", "objects": objects})

    async def put(self, request: web.Request) -> web.Response:
        data, oid = await request.read(), request.match_info["oid"]
        if hashlib.sha256(data).hexdigest() != oid:
            return web.Response(status=400)
        (self.folder / ".lfs").mkdir(exist_ok=True)
        (self.folder / ".lfs" / oid).write_bytes(data)
        return web.Response()

    async def verify(self, request: web.Request) -> web.Response:
        there = (self.folder / ".lfs" / (await request.json())["oid"]).exists()
        return web.Response(status=200 if there else 404)

    async def commit(self, request: web.Request) -> web.Response:
        repo, name = self.repo(request), f"{request.match_info['owner']}/{request.match_info['name']}"
        added, deleted, header = [], [], {}
        for line in (await request.read()).splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                header = value
            elif entry["key"] == "file":
                data = base64.b64decode(value["content"])
                oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                added.append((value["path"], data, {"oid": oid, "remote_oid": oid, "lfs": False, "size": len(data)}))
            elif entry["key"] == "lfsFile":
                stored = self.folder / ".lfs" / value["oid"]
                data = stored.read_bytes() if stored.exists() else None
                facts = {"oid": value["oid"][:40], "remote_oid": value["oid"], "lfs": True, "size": value["size"]}
                added.append((value["path"], data, facts | {"sha256": value["oid"]}))
            elif entry["key"] == "deletedFile":
                deleted.append(value["path"])
        for path in deleted:
            repo["files"].pop(path, None)
            (self.folder / name / path).unlink(missing_ok=True)
        for path, data, facts in added:
            repo["files"][path] = facts
            (self.folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            if data is not None:
                (self.folder / name / path).write_bytes(data)
        oid = hashlib.sha1(f"{len(repo['commits'])}{name}".encode()).hexdigest()
        repo["commits"].append(
            {
                "oid": oid,
                "title": header.get("summary"),
                "added": sorted(p for p, *_ in added),
                "deleted": sorted(deleted),
            }
        )
        return web.json_response(
            {"success": True, "commitOid": oid, "commitUrl": f"{self.address}/datasets/{name}/commit/{oid}"}
        )

    async def resolve(self, request: web.Request) -> web.Response:
        repo, path = self.repo(request), request.match_info["path"]
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        if path not in repo["files"]:
            raise web.HTTPNotFound(text="{}", headers={"X-Error-Code": "EntryNotFound"})
        facts, data = repo["files"][path], (self.folder / name / path).read_bytes()
        headers = {
            "ETag": f'"{facts.get("sha256", facts["oid"])}"', "X-Repo-Commit": repo["commits"][-1]["oid"],
            "Accept-Ranges": "bytes",
        }  # fmt: skip
        if asked := request.headers.get("Range"):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            return web.Response(status=206, body=data[first : last + 1], headers=headers)
        return web.Response(body=data, headers=headers)


def main() -> None:
    hub = Hub(Path(sys.argv[1]))

    async def say(app: web.Application) -> None:
        print(hub.address, flush=True)

    listening = socket.create_server(("127.0.0.1", 0))
    hub.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app = hub.application()
    app.on_startup.append(say)
    web.run_app(app, sock=listening, print=None, access_log=None, handle_signals=True)


if __name__ == "__main__":
    main()
