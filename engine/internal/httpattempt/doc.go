// Package httpattempt is what one attempt of an HTTP request consists of beside the
// decision about it: the timer that ends an attempt when nothing moves, the bodies
// of request and response that start it anew, the trace that tells what happened to
// the connection and keeps net/http from sending a request twice, by which protocol
// servers were reached, and a connection that the last attempt did not have.
package httpattempt
