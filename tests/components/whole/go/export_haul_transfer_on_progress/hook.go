// Package export_haul_transfer_on_progress lets everything go on.
package export_haul_transfer_on_progress

import (
	verdicts "wit_component/haul_transfer_on_progress"
	haul "wit_component/haul_transfer_types"
)

func Handle(task haul.Task, progress verdicts.Progress) verdicts.Verdict {
	return verdicts.MakeVerdictGoOn()
}
