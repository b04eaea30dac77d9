package engine

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"strings"

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/engine/internal/oauth2error"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// What the texts of this package's errors show of a failure: see package redact.

// shownText returns what may be shown of an error.
func shownText(err error) string { return redact.Error(err, knownText) }

// knownText returns the text of an error that this package knows, all of which may be shown.
func knownText(err error) (text string, ok bool) {
	switch e := err.(type) {
	case *GiveUpError, *DeferError, *ResponseError, credential.Error, *limiter.TooLargeError, *limiter.StalledError, *PausedError:
		return err.Error(), true
	case *limiter.WaitError:
		if e.Err == nil || e.Err == context.Canceled || e.Err == context.DeadlineExceeded {
			return e.Error(), true
		}
	case *httpattempt.TimedOutError:
		if errtree.Is(e.Err, httpattempt.ErrTimeout) {
			return shownText(e.Err), true // it says so
		}
		return httpattempt.ErrTimeout.Error() + ": " + shownText(e.Err), true
	case runtime.Error:
		return e.Error(), reflect.Indirect(reflect.ValueOf(e)).Type().PkgPath() == "runtime"
	}
	if err == httpattempt.ErrTimeout || err == httpattempt.ErrCanceled {
		return err.Error(), true
	}
	if resp, ok := oauth2error.Answer(err); ok {
		return tokenAnswer(err, resp), true
	}
	return "", false
}

// tokenAnswer describes a *RetrieveError of golang.org/x/oauth2, whose own text
// quotes the body of the answer.
func tokenAnswer(err error, resp *http.Response) string {
	text := "oauth2: no answer"
	if resp != nil {
		text = "oauth2: " + redact.Status(resp.StatusCode)
	}
	if code := oauth2error.Code(err); code != "" {
		text += fmt.Sprintf(" (%s)", redact.Code(code))
	}
	return text
}

// shownFailure returns what may be shown of a failed attempt: the facts of the answer, the
// error, and what went wrong with the network. e and err may be nil.
func shownFailure(e *rules.Event, err error) string {
	facts := redact.Facts(e)
	text := ""
	if err != nil {
		text = shownText(err)
	}
	switch {
	case strings.Contains(text, facts): // that of an inner call, or there are none
	case strings.HasPrefix(facts, text): // that of a response
		text = facts
	default:
		text = facts + ": " + text
	}
	if e != nil && e.Network != "" {
		text += ", network=" + redact.Code(e.Network)
	}
	return text
}
