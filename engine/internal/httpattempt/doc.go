// Package httpattempt has the parts of one attempt of an HTTP request, but for the decision
// about it:
//
//   - the timer, which ends an attempt when nothing moves;
//   - the bodies of request and response, which start the timer anew;
//   - the trace, which tells what happened to the connection, and keeps net/http from
//     sending a request twice;
//   - the memory of which version of HTTP each server was reached by;
//   - a transport that does not use the connection of the attempt before.
package httpattempt
