package sdktest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/serialization"
	khttp "github.com/microsoft/kiota-http-go"
	kjson "github.com/microsoft/kiota-serialization-json-go"
	msgraphcore "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
)

func init() { // as msgraph-sdk-go's service client does
	abstractions.RegisterDefaultSerializer(func() serialization.SerializationWriterFactory {
		return kjson.NewJsonSerializationWriterFactory()
	})
	abstractions.RegisterDefaultDeserializer(func() serialization.ParseNodeFactory {
		return kjson.NewJsonParseNodeFactory()
	})
}

// message is Graph's message, as its generated models are written.
type message struct{ id, subject, internetMessageID string }

func newMessage(serialization.ParseNode) (serialization.Parsable, error) { return new(message), nil }

func (m *message) Serialize(w serialization.SerializationWriter) error {
	return errors.Join(w.WriteStringValue("subject", &m.subject), w.WriteStringValue("internetMessageId", &m.internetMessageID))
}

func (m *message) GetFieldDeserializers() map[string]func(serialization.ParseNode) error {
	return map[string]func(serialization.ParseNode) error{
		"id": text(&m.id), "subject": text(&m.subject), "internetMessageId": text(&m.internetMessageID),
	}
}

// messages is a page of a list.
type messages struct {
	value []*message
	next  string
}

func newMessages(serialization.ParseNode) (serialization.Parsable, error) { return new(messages), nil }

func (m *messages) Serialize(serialization.SerializationWriter) error { return nil }

func (m *messages) GetFieldDeserializers() map[string]func(serialization.ParseNode) error {
	return map[string]func(serialization.ParseNode) error{
		"@odata.nextLink": text(&m.next),
		"value": func(n serialization.ParseNode) error {
			all, err := n.GetCollectionOfObjectValues(newMessage)
			for _, one := range all {
				m.value = append(m.value, one.(*message))
			}
			return err
		},
	}
}

// mail is the body of sendMail.
type mail struct{ message message }

func (m *mail) Serialize(w serialization.SerializationWriter) error {
	return w.WriteObjectValue("message", &m.message)
}

func (m *mail) GetFieldDeserializers() map[string]func(serialization.ParseNode) error { return nil }

func text(to *string) func(serialization.ParseNode) error {
	return func(n serialization.ParseNode) error {
		s, err := n.GetStringValue()
		if s != nil {
			*to = *s
		}
		return err
	}
}

// bearer authenticates as Graph's adapter expects it; with a challenge it
// remembers the claims.
type bearer struct{ claims []any }

func (b *bearer) AuthenticateRequest(_ context.Context, r *abstractions.RequestInformation, more map[string]any) error {
	if c, ok := more["claims"]; ok {
		b.claims = append(b.claims, c)
	}
	r.Headers.TryAdd("Authorization", "Bearer sdk")
	return nil
}

// graphClient is Graph's client, above the engine's transport.
type graphClient struct {
	adapter *msgraphcore.GraphRequestAdapterBase
	auth    *bearer
}

func (w *world) graphClient(client *http.Client) graphClient {
	w.t.Helper()
	auth := new(bearer)
	a, err := msgraphcore.NewGraphRequestAdapterBaseWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		auth, msgraphcore.GraphClientOptions{GraphServiceLibraryVersion: "1.89.0"}, nil, nil, client)
	if err != nil {
		w.t.Fatal(err)
	}
	a.SetBaseUrl("http://graph.microsoft.com/v1.0")
	return graphClient{a, auth}
}

// withMiddleware is an HTTP client with the middleware that Graph's own one
// has: with its retry handler, or with that told to leave retries alone.
func (w *world) withMiddleware(retries bool) *http.Client {
	w.t.Helper()
	options := msgraphcore.GraphClientOptions{GraphServiceLibraryVersion: "1.89.0"}
	all := msgraphcore.GetDefaultMiddlewaresWithOptions(&options)
	if !retries {
		kiota, err := khttp.GetDefaultMiddlewaresWithOptions(&khttp.RetryHandlerOptions{
			ShouldRetry: func(time.Duration, int, *http.Request, *http.Response) bool { return false },
		})
		if err != nil {
			w.t.Fatal(err)
		}
		all = append([]khttp.Middleware{
			msgraphcore.NewGraphTelemetryHandler(&options),
			khttp.NewUrlReplaceHandler(true, msgraphcore.ReplacementPairs),
		}, kiota...)
	}
	client := msgraphcore.GetDefaultClient(&options)
	client.Transport = khttp.NewCustomTransportWithParentTransport(w.client.Transport, all...)
	return client
}

var graphErrors = abstractions.ErrorMappings{"XXX": odataerrors.CreateODataErrorFromDiscriminatorValue}

func (c graphClient) get(ctx context.Context, template string, values map[string]string, factory serialization.ParsableFactory) (serialization.Parsable, error) {
	r := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.GET, template, values)
	r.Headers.TryAdd("Accept", "application/json")
	return c.adapter.Send(ctx, r, factory, graphErrors)
}

// list gets every page.
func (c graphClient) list(ctx context.Context, user string) (all []*message, err error) {
	for at, values := "{+baseurl}/users/{user}/messages?%24top=50", map[string]string{"user": user}; at != ""; {
		page, err := c.get(ctx, at, values, newMessages)
		if err != nil {
			return all, err
		}
		all = append(all, page.(*messages).value...)
		at, values = "{+next}", map[string]string{"next": page.(*messages).next}
		if values["next"] == "" {
			break
		}
	}
	return all, nil
}

func (c graphClient) message(ctx context.Context, user, id string) (*message, error) {
	m, err := c.get(ctx, "{+baseurl}/users/{user}/messages/{id}", map[string]string{"user": user, "id": id}, newMessage)
	if err != nil {
		return nil, err
	}
	return m.(*message), nil
}

func (c graphClient) send(ctx context.Context, user string, m *mail) error {
	r := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.POST,
		"{+baseurl}/users/{user}/sendMail", map[string]string{"user": user})
	if err := r.SetContentFromParsable(ctx, c.adapter, "application/json", m); err != nil {
		return err
	}
	return c.adapter.SendNoContent(ctx, r, graphErrors)
}

// odata is Graph's own error in err: its status, code and message.
func odata(err error) (status int, code, message string, ok bool) {
	e, ok := errors.AsType[*odataerrors.ODataError](err)
	if !ok {
		return 0, "", "", false
	}
	if main := e.GetErrorEscaped(); main != nil && main.GetCode() != nil && main.GetMessage() != nil {
		code, message = *main.GetCode(), *main.GetMessage()
	}
	return e.GetStatusCode(), code, message, true
}

// syncGraph lists every mailbox and fetches its messages.
func (w *world) syncGraph(c graphClient, workers int) {
	w.t.Helper()
	var boxes sync.WaitGroup
	for _, mailbox := range w.server.Mailboxes() {
		boxes.Go(func() {
			ctx := engine.WithAccount(w.ctx, mailbox)
			want := map[string]enginetest.Message{}
			for _, m := range w.server.Messages(mailbox) {
				want[m.ID] = m
			}
			all, err := c.list(ctx, mailbox)
			if err != nil || len(all) != len(want) {
				w.t.Errorf("%s: listed %d messages, error %v, want %d", mailbox, len(all), err, len(want))
			}
			each(workers, all, func(listed *message) {
				m, err := c.message(ctx, mailbox, listed.id)
				switch {
				case want[listed.id].Gone:
					if status, code, _, ok := odata(err); !ok || status != 404 || code != "ErrorItemNotFound" {
						w.t.Errorf("%s: deleted message %s: %#v, want an ODataError 404", mailbox, listed.id, err)
					}
				case err != nil:
					w.t.Errorf("%s: message %s: %v", mailbox, listed.id, err)
				case m.id != listed.id || m.subject != want[m.id].Subject:
					w.t.Errorf("%s: message %s came as %s, subject %q, want %q", mailbox, listed.id, m.id, m.subject, want[listed.id].Subject)
				}
			})
		})
	}
	boxes.Wait()
}

func TestGraphSync(t *testing.T) {
	inBubble(t, func() *enginetest.Server { return enginetest.NewGraph(enginetest.Options{Seed: 1, Messages: 120}) }, func(w *world) {
		w.syncGraph(w.graphClient(w.client), 8)
		w.checkServer()
	})
}

// The retry handler above finds nothing to do.
func TestGraphSyncWithMiddleware(t *testing.T) {
	inBubble(t, func() *enginetest.Server { return enginetest.NewGraph(enginetest.Options{Seed: 2, Messages: 120}) }, func(w *world) {
		w.syncGraph(w.graphClient(w.withMiddleware(true)), 8)
		w.checkServer()
	})
}

func TestGraphSyncOverOneConnection(t *testing.T) {
	inBubble(t, func() *enginetest.Server { return enginetest.NewGraph(enginetest.Options{Seed: 3, Mailboxes: 1}) }, func(w *world) {
		w.base.MaxConnsPerHost = 1
		w.syncGraph(w.graphClient(w.client), 8)
		w.checkServer()
	})
}

// Sends are repeated where the server refused them, although Graph's client
// gives them neither GetBody nor a length (compressed ones: no GetBody), and
// never where they may have been done.
func TestGraphSend(t *testing.T) {
	for _, middleware := range []bool{false, true} {
		t.Run(fmt.Sprintf("middleware=%v", middleware), func(t *testing.T) {
			inBubble(t, func() *enginetest.Server { return enginetest.NewGraph(enginetest.Options{Seed: 4, Messages: 1}) }, func(w *world) {
				client := w.client
				if middleware {
					client = w.withMiddleware(false)
				}
				c := w.graphClient(client)
				var mu sync.Mutex
				ended := map[string]int{}
				var boxes sync.WaitGroup
				for _, mailbox := range w.server.Mailboxes() {
					boxes.Go(func() {
						ctx := engine.WithAccount(w.ctx, mailbox)
						var ids []string
						for i := range 60 {
							ids = append(ids, fmt.Sprintf("%d@%s", i, mailbox))
						}
						each(4, ids, func(id string) {
							err := c.send(ctx, mailbox, &mail{message{subject: "hello", internetMessageID: id}})
							n := w.server.Sent(mailbox, id)
							end := "sent"
							if status, _, _, ok := odata(err); ok {
								end = fmt.Sprintf("HTTP %d", status)
							} else if e, ok := errors.AsType[*engine.GiveUpError](err); ok {
								end = e.Decision.As
							} else if err != nil {
								end = err.Error()
							}
							if n > 1 || err == nil && n != 1 {
								t.Errorf("message %s was sent %d times, and the client was told %v", id, n, err)
							}
							mu.Lock()
							ended[end]++
							mu.Unlock()
						})
					})
				}
				boxes.Wait()
				if ended["sent"] == 0 || ended["HTTP 504"] == 0 || ended["ambiguous"] == 0 || len(ended) != 3 {
					t.Errorf("sends ended so: %v, want some sent, HTTP 504 and ambiguous, and nothing else", ended)
				}
				if c := w.server.Counts(); c.Refused[enginetest.Throttled] == 0 {
					t.Errorf("no send was throttled, so none was repeated: %+v", c)
				}
				w.checkServer()
			})
		})
	}
}

// What Graph's client makes of a final failure is its own error, whole.
func TestGraphErrors(t *testing.T) {
	for _, tt := range []struct {
		name     string
		status   int
		code     string
		header   string
		repeated bool
		as       string
		deferred time.Duration // at least
	}{
		{name: "permanent", status: 400, code: "ErrorInvalidRequest", as: engine.AsPermanent},
		{name: "resync", status: 410, code: "SyncStateNotFound", as: engine.AsResync},
		{name: "used up", status: 503, code: "serviceNotAvailable", repeated: true, as: engine.AsExhausted},
		{name: "deferred", status: 429, code: "ApplicationThrottled", header: "600", deferred: 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			under(t, func(rw http.ResponseWriter, _ *http.Request) {
				requests++
				refuse(rw, tt.status, tt.code, tt.header)
			}, func(w *world) {
				var out engine.Result
				_, err := w.graphClient(w.client).message(engine.WithCall(w.ctx, engine.Call{Keys: limiter.Keys{Account: "ann"}, Outcome: &out}), "ann", "1")
				if status, code, message, ok := odata(err); !ok || status != tt.status || code != tt.code || message != "No." {
					t.Errorf("error %#v, want an ODataError %d %s", err, tt.status, tt.code)
				} else if e, _ := errors.AsType[*odataerrors.ODataError](err); tt.header != "" && !slices.Contains(e.GetResponseHeaders().Get("Retry-After"), tt.header) {
					t.Errorf("the error's Retry-After is %q, want %q", e.GetResponseHeaders().Get("Retry-After"), tt.header)
				}
				if (requests > 1) != tt.repeated {
					t.Errorf("sent %d requests, want more than one: %v", requests, tt.repeated)
				}
				if out.Decision.As != tt.as || out.Decision.Defer != (tt.deferred > 0) || tt.deferred > 0 && time.Until(out.Until) < tt.deferred {
					t.Errorf("outcome %q, deferred %v until in %v, want %q, %v", out.Decision.As, out.Decision.Defer, time.Until(out.Until), tt.as, tt.deferred)
				}
			})
		})
	}
}

// refuse answers with an error as Graph does.
func refuse(rw http.ResponseWriter, status int, code, retryAfter string) {
	rw.Header().Set("Content-Type", "application/json")
	if retryAfter != "" {
		rw.Header().Set("Retry-After", retryAfter)
	}
	rw.WriteHeader(status)
	fmt.Fprintf(rw, `{"error":{"code":%q,"message":"No."}}`, code)
}

// Graph's middleware retries what was given up below it. That is told once,
// and the last error is still Graph's own.
func TestGraphNestedRetries(t *testing.T) {
	under(t, func(rw http.ResponseWriter, _ *http.Request) {
		refuse(rw, 503, "serviceNotAvailable", "")
	}, func(w *world) {
		c := w.graphClient(w.withMiddleware(true))
		ctx := engine.WithCall(w.ctx, engine.Call{Keys: limiter.Keys{Account: "ann"}, MaxAttempts: 1})
		for _, id := range []string{"1", "2"} {
			_, err := c.message(ctx, "ann", id)
			if status, code, _, ok := odata(err); !ok || status != 503 || code != "serviceNotAvailable" {
				t.Errorf("error %v, want an ODataError 503", err)
			}
		}
		if n := w.told(engine.NoticeNested); n != 1 {
			t.Errorf("nested retries were told %d times, want once", n)
		}
	})
}

// A challenge for claims reaches the engine's hook with its padding; the
// adapter above sees nothing of it.
func TestGraphClaimsChallenge(t *testing.T) {
	claims := base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`))
	if claims[len(claims)-1] != '=' {
		t.Fatalf("claims %q have no padding", claims)
	}
	requests := 0
	under(t, func(rw http.ResponseWriter, r *http.Request) {
		if requests++; requests == 1 {
			rw.Header().Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="`+claims+`"`)
			refuse(rw, 401, "InvalidAuthenticationToken", "")
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprint(rw, `{"id":"1","subject":"hello"}`)
	}, func(w *world) {
		c := w.graphClient(w.client)
		m, err := c.message(engine.WithAccount(w.ctx, "ann"), "ann", "1")
		if err != nil || m.subject != "hello" {
			t.Fatalf("got %+v, %v", m, err)
		}
		if len(w.claims) != 1 || w.claims[0] != claims || len(c.auth.claims) != 0 {
			t.Errorf("the engine's hook got claims %q, the adapter's %q, want %q and none", w.claims, c.auth.claims, claims)
		}
	})
}

func TestGraphLargeMessage(t *testing.T) {
	data := large(3 << 20)
	overLoopback(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/plain")
		_, _ = rw.Write(data)
	}, func(w *world) {
		c := w.graphClient(w.client)
		for range 3 {
			r := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.GET,
				"{+baseurl}/users/{user}/messages/{id}/$value", map[string]string{"user": "ann", "id": "1"})
			got, err := c.adapter.SendPrimitive(w.ctx, r, "[]byte", graphErrors)
			if err != nil {
				t.Fatal(err)
			}
			if b, ok := got.([]byte); !ok || !slices.Equal(b, data) {
				t.Errorf("got %d bytes of a %T, want the %d of the message", len(b), got, len(data))
			}
		}
	})
}
