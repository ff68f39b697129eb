// Package export_haul_transfer_authorize asks the next component.
package export_haul_transfer_authorize

import (
	next "wit_component/haul_transfer_authorize"
	haul "wit_component/haul_transfer_types"
)

func Decide(task haul.Task, auth haul.Auth, situation next.Situation, now uint64) next.Verdict {
	return next.Decide(task, auth, situation, now)
}
