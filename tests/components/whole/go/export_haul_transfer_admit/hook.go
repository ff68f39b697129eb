// Package export_haul_transfer_admit asks the next component.
package export_haul_transfer_admit

import (
	"go.bytecodealliance.org/pkg/wit/types"
	next "wit_component/haul_transfer_admit"
	haul "wit_component/haul_transfer_types"
)

func Decide(tasks []haul.Task, context next.Context) []types.Result[haul.Task, []next.Problem] {
	return next.Decide(tasks, context)
}
