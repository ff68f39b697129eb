// Package export_haul_transfer_on_task_start stamps each request with the task's id.
package export_haul_transfer_on_task_start

import (
	"go.bytecodealliance.org/pkg/wit/types"
	start "wit_component/haul_transfer_on_task_start"
	haul "wit_component/haul_transfer_types"
)

// Handle answers what to change for this attempt.
func Handle(task haul.Task) types.Option[start.Changes] {
	return types.Some(start.Changes{Headers: []haul.Pair{{F0: "x-haul-example", F1: task.Id}}})
}
