package recourseotel

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/redact"
)

// The attributes that are Recourse's own.
const (
	keyProvider  = attribute.Key("recourse.provider")
	keyVersion   = attribute.Key("recourse.policy.version")
	keyOperation = attribute.Key("recourse.operation")
	keyRule      = attribute.Key("recourse.rule")
	keyAction    = attribute.Key("recourse.action")
	keyAs        = attribute.Key("recourse.as")
	keyReason    = attribute.Key("recourse.reason")
	keyCode      = attribute.Key("recourse.code")
	keyDelay     = attribute.Key("recourse.delay")
	keyAccount   = attribute.Key("recourse.account")
	keyLimit     = attribute.Key("recourse.limit")
	keyOutcome   = attribute.Key("recourse.outcome")
)

// attempt makes the span of an attempt that has ended.
func (b *Observer) attempt(ctx context.Context, n *engine.Notice) {
	method, isHTTP := methodOf(n)
	name := n.Operation
	if isHTTP {
		name = strings.TrimSpace(strings.Replace(method, other, "HTTP", 1) + " " + name)
	}
	if name == "" {
		name = n.Provider
	}
	_, span := b.tracer.Start(ctx, name,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(n.Time.Add(-n.Duration)))
	defer span.End(trace.WithTimestamp(n.Time))
	if !span.IsRecording() {
		return
	}
	attrs := make([]attribute.KeyValue, 0, 16)
	if isHTTP {
		attrs = append(attrs, semconv.HTTPRequestMethodKey.String(method))
		if method == other {
			attrs = append(attrs, semconv.HTTPRequestMethodOriginal(n.Method))
		}
		if n.Attempt > 1 {
			attrs = append(attrs, semconv.HTTPRequestResendCount(n.Attempt-1))
		}
		if n.Status > 0 {
			attrs = append(attrs, semconv.HTTPResponseStatusCode(n.Status))
		}
	}
	if n.Host != "" {
		attrs = append(attrs, semconv.ServerAddress(n.Host))
	}
	if t := b.metrics.labels.ErrorType(n); t != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(t))
		span.SetStatus(codes.Error, "")
	}
	span.SetAttributes(b.describe(attrs, n)...)
}

// event puts what happened between attempts on the caller's span.
func (b *Observer) event(ctx context.Context, n *engine.Notice) {
	name := ""
	switch n.Kind {
	case engine.NoticeQueued:
		name = "recourse.queued"
	case engine.NoticeWait:
		name = "recourse.wait"
	case engine.NoticeHold:
		name = "recourse.hold"
	case engine.NoticeReauth:
		name = "recourse.reauth"
	case engine.NoticeReauthWait:
		name = "recourse.reauth_wait"
	case engine.NoticeGiveUp:
		name = "recourse.give_up"
	case engine.NoticeDefer:
		name = "recourse.defer"
	default:
		return
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attrs := make([]attribute.KeyValue, 0, 12)
	switch n.Kind {
	case engine.NoticeHold:
		attrs = append(attrs, keyLimit.String(n.Limit), keyDelay.Float64(n.Duration.Seconds()))
	case engine.NoticeReauth:
		attrs = append(attrs, keyOutcome.String(outcome(n)))
	case engine.NoticeReauthWait:
		attrs = append(attrs, keyOutcome.String(outcome(n)), keyDelay.Float64(n.Duration.Seconds()))
	case engine.NoticeDefer, engine.NoticeQueued:
		if n.Limit != "" {
			attrs = append(attrs, keyLimit.String(n.Limit))
		}
		attrs = append(attrs, keyDelay.Float64(n.Duration.Seconds()))
	}
	span.AddEvent(name, trace.WithTimestamp(n.Time), trace.WithAttributes(b.describe(attrs, n)...))
}

// describe adds what is known of the call and its decision.
func (b *Observer) describe(attrs []attribute.KeyValue, n *engine.Notice) []attribute.KeyValue {
	add := func(k attribute.Key, v string) {
		if v != "" {
			attrs = append(attrs, k.String(v))
		}
	}
	add(keyProvider, n.Provider)
	add(keyVersion, n.Version)
	add(keyOperation, n.Operation)
	if b.account {
		add(keyAccount, n.Account)
	}
	if d := n.Decision; d != nil {
		add(keyRule, ruleName(d))
		add(keyAction, d.Action.String())
		add(keyAs, d.As)
		add(keyReason, d.Reason.String())
		if d.Delay > 0 && n.Kind != engine.NoticeHold && n.Kind != engine.NoticeDefer && n.Kind != engine.NoticeQueued && n.Kind != engine.NoticeReauthWait {
			attrs = append(attrs, keyDelay.Float64(d.Delay.Seconds()))
		}
	}
	if n.Event != nil {
		add(keyCode, redact.Code(n.Event.Code()))
	}
	return attrs
}

// methods are those of RFC 9110 and RFC 5789, and WebDAV's and CalDAV's.
var methods = map[string]bool{
	"GET": true, "HEAD": true, "POST": true, "PUT": true, "DELETE": true, "CONNECT": true, "OPTIONS": true,
	"TRACE": true, "PATCH": true, "QUERY": true,
	"PROPFIND": true, "PROPPATCH": true, "REPORT": true, "MKCOL": true, "MKCALENDAR": true,
}

// methodOf is the method of an HTTP request as the conventions write it. An
// attempt of Do that succeeded has nothing that tells its protocol, so there a
// method that HTTP knows means HTTP.
func methodOf(n *engine.Notice) (method string, isHTTP bool) {
	known := methods[n.Method]
	switch {
	case n.Event != nil && n.Event.Protocol != "http", n.Method == "":
		return "", false
	case known:
		return n.Method, true
	case n.Event != nil || n.Status > 0:
		return other, true
	}
	return "", false
}

func ruleName(d *engine.Decision) string {
	if d.Rule == nil {
		return ""
	}
	return d.Rule.Name
}

func outcome(n *engine.Notice) string {
	if n.Err != nil {
		return "failure"
	}
	return "success"
}
