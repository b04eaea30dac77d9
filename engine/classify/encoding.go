package classify

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"unicode/utf8"
)

// maxCodings bounds how many codings are taken off a body. Nobody applies more
// than one; each can make a thousand bytes of one.
const maxCodings = 2

// decode takes the codings of Content-Encoding off a body: gzip and deflate, which
// net/http leaves alone where the caller asked for them itself. It reads at most
// so many bytes and yields as many; of a body that is cut short it yields the
// part that is there. coded reports that one is left that is not known. A body
// that is not what the header says was decoded by somebody else already, and is
// returned as it is.
func decode(b []byte, h map[string][]string, most int) (plain []byte, coded bool) {
	list := h["Content-Encoding"]
	if len(list) == 0 {
		return b, false
	}
	codings := strings.Split(strings.ToLower(strings.Join(list, ",")), ",")
	left := maxCodings
	for i := len(codings) - 1; i >= 0; i-- {
		coding := strings.TrimSpace(codings[i])
		if coding == "" || coding == "identity" {
			continue
		}
		if left--; left < 0 {
			return b, true
		}
		var r io.Reader
		var err error
		in := bytes.NewReader(b[:min(len(b), most)])
		switch coding {
		case "gzip", "x-gzip":
			r, err = gzip.NewReader(in)
		case "deflate":
			if isText(b) {
				return b, false
			}
			// zlib by RFC 9110, section 8.4.1.2; bare by Microsoft's servers of old.
			if r, err = zlib.NewReader(in); err != nil {
				in.Reset(b[:min(len(b), most)])
				r, err = flate.NewReader(in), nil
			}
		default:
			return b, true
		}
		if err != nil {
			return b, false
		}
		out, _ := io.ReadAll(io.LimitReader(r, int64(most)))
		if len(out) == 0 {
			return b, false
		}
		b = out
	}
	return b, false
}

// isText reports whether a body starts as text: compressed data does not.
func isText(b []byte) bool {
	b = cutRune(b[:min(len(b), sniffLen)])
	return utf8.Valid(b) && !isBinary(string(b))
}
