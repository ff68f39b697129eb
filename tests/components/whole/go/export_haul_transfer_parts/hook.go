// Package export_haul_transfer_parts asks the next component.
package export_haul_transfer_parts

import (
	next "wit_component/haul_transfer_parts"
	haul "wit_component/haul_transfer_types"
)

func Decide(task haul.Task, what next.Known) next.Verdict {
	return next.Decide(task, what)
}
