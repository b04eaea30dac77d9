package classify

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/recourse-go/recourse/internal/extract"
)

// sniffLen is how many bytes of a body are looked at to tell text from binary data.
const sniffLen = 512

// text returns the body as valid UTF-8, and its kind. It first decodes the codings
// of Content-Encoding that it knows. A body that is then still compressed, or is
// binary, has no text, except WBXML, which is turned into XML. A body that is UTF-8
// already is not copied. At most `most` bytes of the body, and of the text, are used.
func text(b []byte, h map[string][]string, most int) (string, extract.BodyKind) {
	b, coded := decode(b, h, most)
	if len(b) > most {
		b = cutRune(b[:most])
	}
	if len(b) == 0 {
		return "", extract.BodyText
	}
	s := unsafe.String(&b[0], len(b))
	switch {
	case strings.HasPrefix(s, "\xef\xbb\xbf"):
		s = s[3:]
	case strings.HasPrefix(s, wbxmlHeader):
		return extract.Cut(decodeWBXML(s), most), extract.BodyXML
	case strings.HasPrefix(s, "\xff\xfe"), strings.HasPrefix(s, "\xfe\xff"):
		s = decodeUTF16(s)
	}
	if isBinary(s) {
		return "", extract.BodyText
	}
	if !utf8.ValidString(s) {
		if coded {
			return "", extract.BodyText // compressed by a coding that has no magic number, such as br
		}
		s = toUTF8(s, get(h, "Content-Type"))
	}
	s = extract.Cut(s, most)
	return s, extract.KindOf(s)
}

// cutRune drops an incomplete rune at the end of b.
func cutRune(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// isBinary reports whether s is compressed or has the bytes that the MIME
// Sniffing standard (mimesniff.spec.whatwg.org, section 3) calls binary.
func isBinary(s string) bool {
	for _, magic := range [...]string{"\x1f\x8b", "\x28\xb5\x2f\xfd", "BZh9", "\xfd7zXZ", "PK\x03\x04"} {
		if strings.HasPrefix(s, magic) {
			return true
		}
	}
	if len(s) > sniffLen {
		s = s[:sniffLen]
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 && c != '\t' && c != '\n' && c != '\f' && c != '\r' && c != 0x1b {
			return true
		}
	}
	return false
}

// toUTF8 decodes s if its content type names a Latin charset. Otherwise it replaces
// the bytes that are not UTF-8.
func toUTF8(s, contentType string) string {
	ct := strings.ToLower(contentType)
	if strings.Contains(ct, "8859-1") || strings.Contains(ct, "windows-1252") || strings.Contains(ct, "latin1") {
		return decodeLatin1(s)
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// decodeLatin1 decodes ISO 8859-1. It also serves for windows-1252, which differs
// only in dashes, quotes and the like.
func decodeLatin1(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	for i := 0; i < len(s); i++ {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// decodeUTF16 decodes s, which starts with a byte order mark.
func decodeUTF16(s string) string {
	little := s[0] == 0xff
	u := make([]uint16, 0, len(s)/2)
	for i := 2; i+1 < len(s); i += 2 {
		if little {
			u = append(u, uint16(s[i])|uint16(s[i+1])<<8)
		} else {
			u = append(u, uint16(s[i+1])|uint16(s[i])<<8)
		}
	}
	return string(utf16.Decode(u))
}
