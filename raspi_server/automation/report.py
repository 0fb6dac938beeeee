"""Schedules and rules for people: their keys, their states, and a plan of the outputs."""

from typing import TYPE_CHECKING

from ..config.schema import RuleConfig, ScheduleConfig
from ..messages import Coming, RuleInfo, RuleWindow, ScheduleInfo
from .schedule_engine import ScheduleState

if TYPE_CHECKING:
    from .rule_engine import RuleStatus


def schedule(config: ScheduleConfig, state: ScheduleState, writable: bool) -> ScheduleInfo:
    """Return a schedule for a caller, who may pause it if `writable`."""
    coming = state.next
    return ScheduleInfo(
        name=state.name,
        pin=config.pin,
        from_=_text(config.begin),
        to=_text(config.end),
        at=_text(config.at),
        days=list(config.days),
        value=None if config.at else config.value,
        pulse=config.pulse,
        turn_off=list(config.turn_off),
        cover=config.cover,
        goal=config.goal,
        writable=writable,
        paused=state.is_paused,
        until=state.until,
        next=coming and Coming(coming.begin, coming.end),
        skipped=state.skipped,
        runs=state.runs,
    )


def rule(config: RuleConfig, state: "RuleStatus", writable: bool) -> RuleInfo:
    """Return a rule for a caller, who may pause it if `writable`."""
    only = config.only
    return RuleInfo(
        name=state.name,
        when=list(config.when),
        while_=list(config.while_),
        press=config.press,
        for_=config.for_,
        hold=config.hold,
        only=RuleWindow(str(only.begin), str(only.end)) if only else None,
        turn_on=list(config.turn_on),
        turn_off=list(config.turn_off),
        toggle=list(config.toggle),
        set_=dict(config.set_),
        pulse=list(config.pulse),
        move=dict(config.move),
        writable=writable,
        paused=state.is_paused,
        parked=state.is_parked,
        acting=state.is_acting,
        open=state.is_open,
        runs=state.runs,
    )


def _text(time: object | None) -> str | None:
    return None if time is None else str(time)
