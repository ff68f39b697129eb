// Package export_haul_transfer_verify counts files in its state, and says which one it refuses: the settings tell how many it takes.
package export_haul_transfer_verify

import (
	"fmt"
	"strconv"

	"go.bytecodealliance.org/pkg/wit/types"
	files "wit_component/haul_transfer_verify"
	haul "wit_component/haul_transfer_types"
	settings "wit_component/wasi_config_store"
	state "wit_component/wasi_keyvalue_store"
)

func Handle(task haul.Task, file files.Finished) types.Result[types.Unit, string] {
	count, err := counted()
	if err != nil {
		return types.Err[types.Unit, string](err.Error())
	}
	most, set := settings.Get("most").Ok().Get()
	if set && strconv.Itoa(count) > most {
		return types.Err[types.Unit, string](fmt.Sprintf("this is file %d", count))
	}
	return types.Ok[types.Unit, string](types.Unit{})
}

func counted() (int, error) {
	opened := state.Open("files")
	if opened.IsErr() {
		return 0, fmt.Errorf("no state")
	}
	bucket := opened.Ok()
	defer bucket.Drop()
	before, _ := bucket.Get("count").Ok().Get()
	count := len(before) + 1
	if bucket.Set("count", append(before, 'x')).IsErr() {
		return 0, fmt.Errorf("cannot count")
	}
	return count, nil
}
