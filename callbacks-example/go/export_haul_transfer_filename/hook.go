// Package export_haul_transfer_filename puts the group before the name of tasks whose metadata is `rename`.
package export_haul_transfer_filename

import (
	"strings"

	next "wit_component/haul_transfer_filename"
	haul "wit_component/haul_transfer_types"
)

// Decide asks the next component for the name itself; the default policy is the last one.
func Decide(task haul.Task, response haul.Response, taken []string) string {
	if task.MetaData != "rename" {
		return next.Decide(task, response, taken)
	}
	prefix := strings.ReplaceAll(task.Group, "/", "_") + "-"
	// The next one must not answer a name that is taken once the prefix is before it.
	var rest []string
	for _, name := range taken {
		if name, found := strings.CutPrefix(name, prefix); found {
			rest = append(rest, name)
		}
	}
	return prefix + next.Decide(task, response, rest)
}
