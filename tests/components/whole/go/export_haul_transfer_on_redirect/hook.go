// Package export_haul_transfer_on_redirect follows every redirect.
package export_haul_transfer_on_redirect

import (
	verdicts "wit_component/haul_transfer_on_redirect"
	haul "wit_component/haul_transfer_types"
)

func Handle(task haul.Task, hop verdicts.Hop) verdicts.Verdict {
	return verdicts.MakeVerdictFollow()
}
