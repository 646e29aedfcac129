"""The proxy in front of a server of others: mcp-server-git from PyPI, unchanged, on a repository of the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_desk import ROADWORTHY, roadworthy, text

from roadworthy import Ledger

CONTRACT = """
roadworthy: 1
agent: committer
version: "1"
goal: Commit what was written, and nothing else.
owner: {team: Tools, accountable: tools-lead}
types:
  Repo: {enum: [REPO]}
tools:
  git_status: {effect: read, args: {repo_path: Repo}, returns: string}
  git_log:    {effect: read, args: {repo_path: Repo, max_count: {type: integer, optional: true}}}
  git_add:    {effect: write, args: {repo_path: Repo, files: {type: array, items: string}}, returns: string}
  commit:
    name: git_commit
    effect: write
    args: {repo_path: Repo, message: {type: string, minLength: 10}}
    returns: string
    needs: [{call: git_status, same: [repo_path]}]
capabilities:
  commit_work:
    means: Somebody wants their work committed.
    tools: [git_status, git_log, git_add, commit]
    autonomy: {start: autonomous, ceiling: autonomous, approver: tools-lead}
    success: [{id: committed, check: count.commit == 1}]
rules:
  - id: no-secrets
    tools: [git_add]
    when: args.files.exists(f, f.contains(".env"))
    then: deny
    because: Files with credentials are never committed.
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "config", "user.email", "a@example.com")
    git(path, "config", "user.name", "A")
    (path / "a.txt").write_text("a\n")
    (path / ".env").write_text("KEY=1\n")
    return path


def git(path: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(path), *words], capture_output=True, text=True, check=True)
    return done.stdout


async def test_a_server_from_pypi_stands_behind_the_gate_unchanged(tmp_path: Path, repo: Path) -> None:
    law = tmp_path / "committer.yaml"
    law.write_text(CONTRACT.replace("REPO", str(repo)))
    (tmp_path / "other").mkdir()
    runs = tmp_path / "runs.db"
    words = ["proxy", str(law), "--ledger", str(runs)]
    behind = ["--", sys.executable, "-m", "mcp_server_git"]
    done = roadworthy(*words, "--accept-all", *behind)
    assert done.returncode == 0, done.stderr
    line = [*ROADWORTHY, *words, *behind]
    server = StdioServerParameters(command=line[0], args=line[1:], env=dict(os.environ))
    at = {"repo_path": str(repo)}
    async with stdio_client(server) as (incoming, outgoing), ClientSession(incoming, outgoing) as client:
        await client.initialize()
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        blind = await client.call_tool("git_commit", {**at, "message": "All of my work"})
        status = await client.call_tool("git_status", at)
        secret = await client.call_tool("git_add", {**at, "files": [".env"]})
        added = await client.call_tool("git_add", {**at, "files": ["a.txt"]})
        terse = await client.call_tool("git_commit", {**at, "message": "x"})
        reset = await client.call_tool("git_reset", at)
        elsewhere = await client.call_tool("git_status", {"repo_path": str(tmp_path / "other")})
        committed = await client.call_tool("git_commit", {**at, "message": "All of my work"})
        log = await client.call_tool("git_log", {**at, "max_count": 1})
    assert sorted(listed) == ["git_add", "git_commit", "git_log", "git_status"]
    assert sorted(listed["git_log"].inputSchema["properties"]) == ["max_count", "repo_path"]
    assert [r.isError for r in (blind, secret, terse, reset, elsewhere)] == [True] * 5
    assert [r.isError for r in (status, added, committed, log)] == [False] * 4, text(status) + text(committed)
    assert "Files with credentials" in text(secret)
    assert "All of my work" in text(log)
    assert git(repo, "log", "--format=%s").split("\n")[0] == "All of my work"
    assert git(repo, "show", "--name-only", "--format=", "HEAD").split() == ["a.txt"]
    with Ledger.open(str(runs), read_only=True) as ledger:
        rulings = [entry.body["ruling"] for entry in ledger.entries(kind="verdict")]
    assert rulings.count("deny") == 5
    assert rulings.count("allow") == 4
