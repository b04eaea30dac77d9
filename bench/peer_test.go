package bench

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	awsretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/cenkalti/backoff/v4"
	"github.com/expr-lang/expr"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"
)

// BenchmarkPeer asks each peer what it asks itself after the same failing
// response: is this to be retried, and when.
func BenchmarkPeer(b *testing.B) {
	ctx := context.Background()
	resp := &http.Response{
		StatusCode: 429, Header: http.Header{"Retry-After": {"10"}, "Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(throttledBody)),
	}
	b.Run("retryablehttp", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if ok, _ := retryablehttp.DefaultRetryPolicy(ctx, resp, nil); ok {
				sink += int(retryablehttp.DefaultBackoff(time.Second, 30*time.Second, 1, resp))
			}
		}
	})
	b.Run("failsafehttp", func(b *testing.B) {
		// Its decision cannot be asked for alone: an execution without retries.
		executor := failsafe.With(failsafehttp.NewRetryPolicyBuilder().WithMaxRetries(0).Build())
		b.ReportAllocs()
		for b.Loop() {
			executor.Get(func() (*http.Response, error) { return resp, nil })
		}
	})
	b.Run("aws", func(b *testing.B) {
		r := awsretry.NewStandard()
		err := error(&throttlingError{})
		b.ReportAllocs()
		for b.Loop() {
			if r.IsErrorRetryable(err) {
				d, _ := r.RetryDelay(1, err)
				sink += int(d)
			}
		}
	})
	b.Run("backoff_v4", func(b *testing.B) {
		bo := backoff.NewExponentialBackOff()
		b.ReportAllocs()
		for b.Loop() {
			sink += int(bo.NextBackOff())
		}
	})

	const when = `status == 429 and ("ApplicationThrottled" in codes or message contains "MailboxConcurrency")`
	env := map[string]any{"status": 429, "codes": []string{"ApplicationThrottled"}, "message": "Application is over its MailboxConcurrency limit."}
	b.Run("expr_per_decision", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, err := expr.Compile(when, expr.Env(env), expr.AsBool())
			if err != nil {
				b.Fatal(err)
			}
			if ok, err := expr.Run(p, env); err != nil || ok != true {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("cel", func(b *testing.B) {
		e, err := cel.NewEnv(cel.Variable("status", cel.IntType), cel.Variable("codes", cel.ListType(cel.StringType)), cel.Variable("message", cel.StringType))
		if err != nil {
			b.Fatal(err)
		}
		ast, iss := e.Compile(`status == 429 && ("ApplicationThrottled" in codes || message.contains("MailboxConcurrency"))`)
		if iss.Err() != nil {
			b.Fatal(iss.Err())
		}
		p, err := e.Program(ast)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if v, _, err := p.Eval(env); err != nil || v.Value() != true {
				b.Fatal(v, err)
			}
		}
	})
}

// throttlingError is an error as the AWS SDK's own clients return it.
type throttlingError struct{}

func (*throttlingError) Error() string     { return "ThrottlingException: Rate exceeded" }
func (*throttlingError) ErrorCode() string { return "ThrottlingException" }
