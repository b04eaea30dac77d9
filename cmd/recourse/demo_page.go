package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/debug"
)

// anyPort is the address of the page if the user gives none: any free port.
const anyPort = ":0"

// demoPage is the debug page of the demo's engine.
type demoPage struct {
	url    string
	server *http.Server
}

// openPage opens the debug page of an engine at an address. It shows the names of accounts,
// since the demo's are made up, and lets all users of this machine pause them.
func openPage(addr string, eng *engine.Engine) (*demoPage, error) {
	if strings.HasPrefix(addr, ":") {
		addr = "127.0.0.1" + addr
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	const path = "/debug/recourse/"
	mux := http.NewServeMux()
	mux.Handle(path, debug.Handler(eng, debug.Options{Actions: true, ShowAccounts: true}))
	mux.Handle("/{$}", http.RedirectHandler(path, http.StatusFound))
	p := &demoPage{
		url:    "http://" + listener.Addr().String() + path,
		server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second},
	}
	go p.server.Serve(listener) // ends with close
	return p, nil
}

func (p *demoPage) close() { _ = p.server.Close() }

// onThisMachine reports whether a page at the address, HOST:PORT or :PORT, can be reached
// from this machine only.
func onThisMachine(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return false
	}
	if host == "" || host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
