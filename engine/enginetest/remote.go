package enginetest

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"
)

// finishedPath is where a transport in another process tells a server that a refusal
// has been read.
const finishedPath = "/enginetest/finished"

// NewRemoteTransport returns a Transport for servers that run in another process of this
// machine. addresses has, by Host, what their Listen has returned. Requests of several
// processes are ordered by the machine's clock. A process comes back early even if it has
// not read the refusal itself, but another process has.
func NewRemoteTransport(addresses map[string]string) *Transport {
	t := NewTransport()
	for host, address := range addresses {
		r := &remote{host: host, address: address}
		r.client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return r.dial(ctx) }}
		t.servers[host] = r
	}
	return t
}

// remote is a server in another process.
type remote struct {
	host, address string
	client        http.Client // for what is between a transport and the server
}

func (r *remote) Host() string { return r.host }

func (r *remote) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", r.address)
}

// moment is now. Its place in the order of things is the clock's, which all processes share.
func (r *remote) moment() moment {
	now := time.Now()
	return moment{now, now.UnixNano()}
}

// finished tells the server, before the client goes on. A server that has ended counts
// nothing any more.
func (r *remote) finished(id int64) {
	req, err := http.NewRequest(http.MethodPost, "http://"+r.host+finishedPath, nil)
	if err != nil {
		return
	}
	req.Header[sentHeader] = []string{r.moment().String()}
	req.Header.Set(refusalHeader, strconv.FormatInt(id, 10))
	if resp, err := r.client.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}

// finishedThere reads what finished has told; false = the request is another one.
func finishedThere(r *http.Request) (id int64, read moment, ok bool) {
	if r.URL.Path != finishedPath {
		return 0, moment{}, false
	}
	id, _ = strconv.ParseInt(r.Header.Get(refusalHeader), 10, 64)
	read, _ = parseMoment(r.Header.Get(sentHeader))
	return id, read, true
}
