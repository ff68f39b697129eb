// Package export_haul_transfer_on_error asks the host that the task's metadata names, by wasi:http, and tells what it answered.
package export_haul_transfer_on_error

import (
	"fmt"

	"go.bytecodealliance.org/pkg/wit/types"
	verdicts "wit_component/haul_transfer_on_error"
	haul "wit_component/haul_transfer_types"
	outgoing "wit_component/wasi_http_outgoing_handler"
	http "wit_component/wasi_http_types"
)

func Handle(task haul.Task, failure haul.Failure, attempt uint32) verdicts.Verdict {
	if task.MetaData == "" {
		return verdicts.MakeVerdictNext()
	}
	failure.Description = ask(task.MetaData)
	return verdicts.MakeVerdictReject(failure)
}

func ask(host string) string {
	request := http.MakeOutgoingRequest(http.MakeFields())
	request.SetScheme(types.Some(http.MakeSchemeHttp()))
	request.SetAuthority(types.Some(host))
	request.SetPathWithQuery(types.Some("/asked"))
	sent := outgoing.Handle(request, types.None[*http.RequestOptions]())
	if sent.IsErr() {
		return "not sent"
	}
	answer := sent.Ok()
	defer answer.Drop()
	pollable := answer.Subscribe()
	pollable.Block()
	pollable.Drop()
	come, _ := answer.Get().Get()
	if come.IsErr() || come.Ok().IsErr() {
		return "no answer"
	}
	response := come.Ok().Ok()
	defer response.Drop()
	return fmt.Sprintf("the other one answered %d", response.Status())
}
