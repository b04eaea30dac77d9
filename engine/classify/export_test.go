package classify

import (
	"net/http"
	"strings"
	"time"
)

// MaxHint is the longest wait that is believed.
const MaxHint = maxHint

// Hint is the wait that headers ask for and the header that says so, which is
// there also where the wait is too long to be believed.
func Hint(h http.Header, status int, now time.Time) (d time.Duration, from string) {
	c := canonical(h)
	cl := clock{now: now, date: get(c, "Date")}
	a := serverHint(c, status, &cl, nil)
	if a.wait == 0 && a.tooLong > 0 {
		return 0, strings.TrimPrefix(a.tooLongFrom, "header ")
	}
	return a.wait, a.from
}
