// Package export_haul_transfer_on_response takes every response as it is.
package export_haul_transfer_on_response

import (
	verdicts "wit_component/haul_transfer_on_response"
	haul "wit_component/haul_transfer_types"
)

func Handle(task haul.Task, response haul.Response) verdicts.Verdict {
	return verdicts.MakeVerdictNext(response)
}
