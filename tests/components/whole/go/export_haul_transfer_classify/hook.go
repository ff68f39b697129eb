// Package export_haul_transfer_classify asks the next component.
package export_haul_transfer_classify

import (
	next "wit_component/haul_transfer_classify"
	haul "wit_component/haul_transfer_types"
)

func Decide(task haul.Task, asked next.Asked, response haul.Response) next.Verdict {
	return next.Decide(task, asked, response)
}
