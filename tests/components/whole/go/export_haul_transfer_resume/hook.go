// Package export_haul_transfer_resume asks the next component.
package export_haul_transfer_resume

import (
	next "wit_component/haul_transfer_resume"
	haul "wit_component/haul_transfer_types"
)

func Decide(task haul.Task, stored next.Stored) next.Answer {
	return next.Decide(task, stored)
}
