// Package export_haul_transfer_on_request lets every request go.
package export_haul_transfer_on_request

import (
	verdicts "wit_component/haul_transfer_on_request"
	haul "wit_component/haul_transfer_types"
)

func Handle(task haul.Task, request haul.Request) verdicts.Verdict {
	return verdicts.MakeVerdictNext(request)
}
