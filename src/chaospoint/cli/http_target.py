"""Talk to a service over HTTP.  Every request has a time limit; refusals are passed on unchanged.

Proxies and passwords in the environment are ignored, so that the token reaches the service only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from chaospoint._kernel.names import is_glob
from chaospoint.cli.acknowledgement import is_acknowledgement
from chaospoint.cli.failures import answered, foreign, no_endpoint, store_hint, unreachable
from chaospoint.cli.target import HeldPlan, Json
from chaospoint.cli.user import user
from chaospoint.control.http import OPERATOR
from chaospoint.plan.plan import Plan

__all__ = ["HttpTarget"]

TIMEOUT_SECONDS = 10.0

CHANGE_SECONDS = 40.0
"""The time limit of a change, which may wait for other writers and then for the workers."""


class HttpTarget:
    """The admin endpoint at ``url``, which includes the path if an application mounts it."""

    def __init__(self, url: str, token: str | None) -> None:
        self.where = url
        headers = {OPERATOR.encode(): user().encode("ascii", "replace")}
        if token:
            headers[b"authorization"] = b"Bearer " + token.encode()
        self._client = httpx.Client(
            base_url=url,
            headers=headers,
            trust_env=False,
            # Loading certificates takes longer than the rest of the request; plain HTTP needs none.
            verify=httpx.URL(url).scheme == "https",
        )

    def status(self) -> Json:
        """Return the state of the service, with all rules."""
        return self._whole("/v1/status", "rules")

    def workers(self) -> Json:
        """Return the workers of the service."""
        return self._ask("GET", "/v1/workers")[0]

    def points(self) -> Json:
        """Return all points of the service."""
        return self._whole("/v1/points", "points")

    def point(self, name: str) -> Json:
        """Return one point with all its rules."""
        return self._whole(f"/v1/points/{name}", *(("points",) if is_glob(name) else ()), "rules")

    def injections(self, point: str | None, limit: int | None) -> Json:
        """Return the latest injections of the process that answers."""
        query = {"point": point, "limit": limit}
        params = {key: str(value) for key, value in query.items() if value is not None}
        return self._ask("GET", "/v1/injections", params=params)[0]

    def plan(self) -> HeldPlan:
        """Return the plan with its entity tag."""
        document, headers = self._ask("GET", "/v1/plan")
        return HeldPlan(headers.get("etag", ""), document)

    def taken_away(self, plan: Plan) -> list[Json]:
        """Return the rules that the plan would remove; empty from a service of an older version."""
        preview = self._ask("PUT", "/v1/plan", body=_body(plan), params={"dry_run": "true"})[0]
        removed: list[Json] = preview.get("takes_away") or []
        return removed

    def put_plan(self, plan: Plan, *, tag: str | None) -> Json:
        """Replace the plan."""
        body = _body(plan)
        match = {"if-match": tag} if tag else {}
        return self._change("PUT", "/v1/plan", body=body, headers=match)

    def put(self, name: str, keys: Mapping[str, object], *, force: bool) -> Json:
        """Arm the rule; ``force`` has no effect, because a service knows its points."""
        del force
        return self._change("PUT", f"/v1/points/{name}", body=keys)

    def dry_run(self, name: str, keys: Mapping[str, object]) -> Json:
        """Return what `put` would do."""
        return self._ask("PUT", f"/v1/points/{name}", body=keys, params={"dry_run": "true"})[0]

    def disarm(self, pattern: str) -> Json:
        """Disarm the matching points."""
        return self._change("DELETE", "/v1/points" if pattern == "*" else f"/v1/points/{pattern}")

    def release(self, pattern: str) -> Json:
        """Release paused calls at the matching points."""
        return self._change("POST", f"/v1/points/{pattern}/release")

    def renew(self, pattern: str, expires_after: str | None) -> Json:
        """Renew the rules of the matching points."""
        body = None if expires_after is None else {"expires_after": expires_after}
        return self._change("POST", f"/v1/points/{pattern}/renew", body=body)

    def enable(self) -> Json:
        """Turn the switch on."""
        return self._change("POST", "/v1/enable")

    def disable(self, reason: str) -> Json:
        """Turn the switch off."""
        body = {"reason": reason} if reason else None
        # Disabling does not wait for other writers, so the short time limit is enough.
        return self._change("POST", "/v1/disable", queues=False, body=body)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _whole(self, path: str, *names: str) -> Json:
        """Return the first page, with the items of all further pages appended."""
        whole = self._ask("GET", path)[0]
        cursors = [whole.get("next")]
        while cursors[-1] is not None:
            page = self._ask("GET", path, params={"limit": "1000", "after": str(cursors[-1])})[0]
            for name in names:
                items, more = whole.get(name), page.get(name)
                if not isinstance(items, list) or not isinstance(more, list):
                    raise foreign(self.where, f"200 with a page of {path} without {name}")
                items += more
            if page.get("next") in cursors:
                raise foreign(
                    self.where,
                    f"200 with a page of {path} that repeats the cursor of an earlier one",
                )
            cursors.append(page.get("next"))
        if cursors[0] is not None:
            whole["next"] = None
        return whole

    def _change(self, method: str, path: str, *, queues: bool = True, **request: Any) -> Json:
        answer = self._ask(method, path, queues=queues, **request)[0]
        if not is_acknowledgement(answer):
            raise foreign(self.where, "200 without the counts of workers that run the change")
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        queues: bool = False,
    ) -> tuple[Json, httpx.Headers]:
        seconds = CHANGE_SECONDS if queues else TIMEOUT_SECONDS
        sent_headers = dict(headers or {})
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            sent_headers["content-type"] = "application/json"
        try:
            response = self._client.request(
                method,
                path,
                params=params,
                content=content,
                headers=sent_headers,
                timeout=httpx.Timeout(TIMEOUT_SECONDS, read=seconds),
            )
        except httpx.ReadTimeout:
            detail = f"no answer from {self.where} within {seconds:g} s"
            if method != "GET":
                detail += "; the change may or may not be in force"
            raise unreachable(detail, f"check `chaospoint status`, or {store_hint()}") from None
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise no_endpoint(self.where, reason) from None
        return self._read(response), response.headers

    def _read(self, response: httpx.Response) -> Json:
        media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            document = response.json()
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            if response.is_success and media == "application/json":
                return document
            if media == "application/problem+json":
                raise answered(response.status_code, document)
        raise foreign(
            self.where,
            f"{response.status_code} {response.reason_phrase} with {media or 'no content type'}",
        )


def _body(plan: Plan) -> Json:
    body: Json = plan.model_dump(mode="json", include={"seed", "rules"})
    return body
