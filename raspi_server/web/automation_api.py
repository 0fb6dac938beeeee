"""`/api/schedules`, `/api/rules` and `/api/plan`: what switches outputs by itself.

A caller may pause a schedule or a rule if it may switch all of its outputs and move its covers.
"""

import time
from typing import ClassVar

from .. import messages
from ..errors import ErrorCode, refusal
from .api import ApiHandler
from .openapi import Operation

_PLAN_S = 86400
_ERRORS: tuple[ErrorCode, ...] = ("foreign", "not-allowed", "not-found")


class _Handler(ApiHandler):
    """A handler for schedules and rules. Without any it answers that there are none."""

    def may_pause(self, targets: tuple[str, ...]) -> bool:
        """Tell if the caller may switch all these outputs, and move all these covers."""
        context = self.context
        configs = map(context.switched, targets)
        return all(context.auth.may_control(config, self.caller) for config in configs)

    def check_schedule(self, name: str) -> None:
        """Raise RequestError if there is no such schedule, or the caller may not pause it."""
        found = self.context.status.config.schedules.get(name)
        if found is None:
            raise refusal("unknown-schedule", name=name[:40])
        self._check(found.targets)

    def check_rule(self, name: str) -> None:
        """Raise RequestError if there is no such rule, or the caller may not pause it."""
        found = self.context.status.config.rules.get(name)
        if found is None:
            raise refusal("unknown-rule", name=name[:40])
        self._check(found.targets)

    def _check(self, targets: tuple[str, ...]) -> None:
        for name in targets:
            self.context.auth.check_control(self.context.switched(name), self.caller)

    def carry_out_automation(self, command: str, name: str) -> None:
        """Call a method of the automation for the caller."""
        getattr(self.context.automation, command)(name, self.context.auth.name(self.caller))

    def answer_schedules(self) -> None:
        """Answer with all schedules."""
        automation = self.context.automation
        found = automation.schedule_infos(self.may_pause) if automation else []
        is_known = automation is None or not automation.is_resting
        self.answer(messages.Schedules(time.time(), is_known, found))

    def answer_rules(self) -> None:
        """Answer with all rules."""
        automation = self.context.automation
        found = automation.rule_infos(self.may_pause) if automation else []
        self.answer(messages.Rules(time.time(), found))


class AllSchedules(_Handler):
    """`/api/schedules`."""

    operations = {
        "get": Operation("All schedules, in the order of config.yaml", messages.Schedules)
    }

    def get(self) -> None:
        """Answer with all schedules."""
        self.answer_schedules()

    head = get


class _OneSchedule(_Handler):
    """A command to a schedule; the answer has all of them."""

    command: ClassVar[str]

    def post(self, name: str) -> None:
        """Carry out the command. Raises RequestError."""
        self.check_schedule(name)
        self.carry_out_automation(self.command, name)
        self.answer_schedules()


def _schedule_command(what: str) -> dict[str, Operation]:
    return {"post": Operation(what, messages.Schedules, errors=_ERRORS)}


class PauseSchedule(_OneSchedule):
    """`/api/schedules/NAME/pause`."""

    operations = _schedule_command("Let it rest until it is resumed, and end what it claims")
    command = "pause_schedule"


class ResumeSchedule(_OneSchedule):
    """`/api/schedules/NAME/resume`."""

    operations = _schedule_command("Let it act again, at once if its window is open")
    command = "resume_schedule"


class SkipNext(_OneSchedule):
    """`/api/schedules/NAME/skip`."""

    operations = _schedule_command("Leave out the next window or moment that has not begun")
    command = "skip"


class UndoSkip(_OneSchedule):
    """`/api/schedules/NAME/undo-skip`."""

    operations = _schedule_command("Leave out nothing")
    command = "undo_skip"


class AllRules(_Handler):
    """`/api/rules`."""

    operations = {"get": Operation("All rules, in the order of config.yaml", messages.Rules)}

    def get(self) -> None:
        """Answer with all rules."""
        self.answer_rules()

    head = get


class _OneRule(_Handler):
    """A command to a rule; the answer has all of them."""

    command: ClassVar[str]

    def post(self, name: str) -> None:
        """Carry out the command. Raises RequestError."""
        self.check_rule(name)
        self.carry_out_automation(self.command, name)
        self.answer_rules()


def _rule_command(what: str) -> dict[str, Operation]:
    return {"post": Operation(what, messages.Rules, errors=_ERRORS)}


class PauseRule(_OneRule):
    """`/api/rules/NAME/pause`."""

    operations = _rule_command("Let it rest until it is resumed, and end what it claims")
    command = "pause_rule"


class ResumeRule(_OneRule):
    """`/api/rules/NAME/resume`."""

    operations = _rule_command("Let it act again, also if it was parked")
    command = "resume_rule"


class PlanOfOutputs(_Handler):
    """`/api/plan`."""

    operations = {
        "get": Operation("What schedules want for outputs in the next 24 hours", messages.Plan)
    }

    def get(self) -> None:
        """Answer with the plan."""
        now = time.time()
        end = now + _PLAN_S
        automation = self.context.automation
        found = automation.schedules.plan(now, end) if automation else {}
        pins = {
            pin: [messages.Planned(*segment) for segment in segments]
            for pin, segments in found.items()
        }
        self.answer(messages.Plan(now, end, pins))

    head = get


class TrustClock(_Handler):
    """`/api/clock/trust`."""

    operations = {
        "post": Operation(
            "Take the clock of the Pi as right until its next start",
            messages.Schedules,
            errors=("foreign", "not-allowed"),
        )
    }

    def post(self) -> None:
        """Let schedules act by the clock as it is. Raises RequestError."""
        auth = self.context.auth
        auth.check_clock(self.caller)
        if self.context.automation:
            self.context.automation.trust_clock(auth.name(self.caller))
        self.answer_schedules()
