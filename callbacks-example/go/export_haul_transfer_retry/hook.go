// Package export_haul_transfer_retry waits twice as long as the next one would when the server says that it is
// overloaded.
package export_haul_transfer_retry

import (
	next "wit_component/haul_transfer_retry"
	haul "wit_component/haul_transfer_types"
)

// Decide asks the next component, the default policy being the last, and changes its answer.
func Decide(task haul.Task, attempt next.Attempt, failure haul.Failure) next.Verdict {
	verdict := next.Decide(task, attempt, failure)
	status, answered := failure.HttpStatus.Get()
	if answered && status == 503 && verdict.Tag() == next.Verdict_AfterMs {
		return next.MakeVerdictAfterMs(verdict.AfterMs() * 2)
	}
	return verdict
}
