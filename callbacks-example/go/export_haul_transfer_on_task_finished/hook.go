// Package export_haul_transfer_on_task_finished tells the log how a task ended.
package export_haul_transfer_on_task_finished

import (
	"fmt"

	haul "wit_component/haul_transfer_types"
)

var words = map[uint8]string{
	haul.Status_Complete: "complete",
	haul.Status_NotFound: "not-found",
	haul.Status_Failed:   "failed",
	haul.Status_Canceled: "canceled",
}

// Handle prints: whatever a component prints becomes lines of haul's log.
func Handle(task haul.Task, update haul.Update) {
	fmt.Printf("task %s of group %s ended: %s\n", task.Id, task.Group, words[update.Status.Tag()])
}
