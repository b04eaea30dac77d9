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

// maxCodings bounds how many codings of a body are decoded. Nobody applies more than
// one, and each one decoded can turn one byte into a thousand.
const maxCodings = 2

// decode decodes a body by its Content-Encoding. It knows gzip and deflate, which
// net/http leaves alone if the caller asked for them itself. It reads at most `most`
// bytes and returns at most as many; of a body that is cut short it returns the part
// that can be read. coded reports that plain still has a coding that is not known. If
// the body does not have the coding that the header names, something has decoded it
// already, and it is returned as it is.
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
			// RFC 9110, section 8.4.1.2, has it in zlib's format. Old servers of
			// Microsoft's send the bare deflate data.
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

// isText reports whether a body starts like a text, which compressed data does not.
func isText(b []byte) bool {
	b = cutRune(b[:min(len(b), sniffLen)])
	return utf8.Valid(b) && !isBinary(string(b))
}
