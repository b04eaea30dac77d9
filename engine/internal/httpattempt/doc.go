// Package httpattempt has the parts of one attempt of an HTTP request, except the decision
// about it:
//
//   - the timer, which ends an attempt that makes no progress;
//   - the bodies of request and response, which restart the timer when they progress;
//   - the trace, which tells what happened to the connection, and keeps net/http from
//     sending a request twice;
//   - the origins, which remember the version of HTTP that each server speaks;
//   - a second transport, which does not use the connection of the attempt before.
package httpattempt
