// Package export_haul_transfer_on_auth renews the access token at the task's `refreshUrl`.
package export_haul_transfer_on_auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.bytecodealliance.org/pkg/wit/types"
	authorize "wit_component/haul_transfer_authorize"
	"wit_component/haul_transfer_fetch"
	auth "wit_component/haul_transfer_on_auth"
	haul "wit_component/haul_transfer_types"
)

// Handle needs `--allow-host` for the refresh URL's host.
func Handle(task haul.Task, old haul.Auth, reason authorize.Reason) auth.Verdict {
	renewed, err := renew(old)
	if err != nil {
		return auth.MakeVerdictFailed(err.Error())
	}
	return auth.MakeVerdictRefreshed(renewed)
}

// renew POSTs the refresh token and reads the new access token from the answer. Errors are told without the URL,
// which may hold secrets.
func renew(old haul.Auth) (haul.Auth, error) {
	url, hasURL := old.RefreshUrl.Get()
	token, hasToken := old.RefreshToken.Get()
	if !hasURL || !hasToken {
		return old, errors.New("the task has no refresh URL or no refresh token")
	}
	headers := []haul.Pair{{F0: "content-type", F1: "application/json"}}
	for _, header := range old.RefreshHeaders {
		headers = append(headers, haul.Pair{F0: header.F0, F1: strings.ReplaceAll(header.F1, "{refreshToken}", token)})
	}
	asked, err := json.Marshal(struct {
		GrantType    string `json:"grant_type"`
		RefreshToken string `json:"refresh_token"`
	}{"refresh_token", token})
	if err != nil {
		return old, err
	}
	sent := haul_transfer_fetch.Fetch(haul.Request{Method: "POST", Url: url, Headers: headers, Body: asked})
	if sent.IsErr() {
		return old, errors.New(sent.Err().Description)
	}
	if status := sent.Ok().Status; status != 200 {
		return old, fmt.Errorf("the token server answered %d", status)
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   *uint64 `json:"expires_in"`
	}
	if json.Unmarshal(sent.Ok().Body, &answer) != nil || answer.AccessToken == "" {
		return old, errors.New("the token server gave no token")
	}
	renewed := old
	renewed.AccessToken = types.Some(answer.AccessToken)
	renewed.AccessTokenExpiresAtMs = types.None[uint64]()
	if answer.ExpiresIn != nil {
		renewed.AccessTokenExpiresAtMs = types.Some(uint64(time.Now().UnixMilli()) + *answer.ExpiresIn*1000)
	}
	return renewed, nil
}
