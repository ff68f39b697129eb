// Package export_haul_transfer_before_task_start ends tasks whose metadata is `veto` before anything is sent.
package export_haul_transfer_before_task_start

import (
	"go.bytecodealliance.org/pkg/wit/types"
	haul "wit_component/haul_transfer_types"
)

// Handle answers none to go on, or the update that the task ends with.
func Handle(task haul.Task) types.Option[haul.Update] {
	if task.MetaData != "veto" {
		return types.None[haul.Update]()
	}
	return types.Some(haul.Update{
		TaskId:       task.Id,
		Status:       haul.MakeStatusCanceled(),
		ResponseBody: types.Some("vetoed by the example"),
	})
}
