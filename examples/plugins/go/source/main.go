// Follows a file that grows. The position is the offset after the last line.
package main

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"time"

	"plugins/aqueduct"
)

type source struct {
	path   string
	file   *os.File
	reader *bufio.Reader
	offset int64
}

func (p *source) Start(position []byte) error {
	p.offset, _ = strconv.ParseInt(string(position), 10, 64)
	var err error
	if p.file, err = os.Open(p.path); err != nil {
		return err
	}
	return p.seek()
}

func (p *source) seek() error {
	_, err := p.file.Seek(p.offset, io.SeekStart)
	p.reader = bufio.NewReader(p.file)
	return err
}

func (p *source) Next() (*aqueduct.Event, []byte, error) {
	line, err := p.reader.ReadBytes('\n')
	if err == io.EOF {
		// The end of the line is not written yet.
		time.Sleep(100 * time.Millisecond)
		return nil, nil, p.seek()
	} else if err != nil {
		return nil, nil, err
	}
	p.offset += int64(len(line))
	event := aqueduct.Event{Body: line[:len(line)-1], Headers: map[string]string{"file": p.path}}
	return &event, strconv.AppendInt(nil, p.offset, 10), nil
}

func main() {
	aqueduct.Run("follow", func(settings aqueduct.Settings) (any, error) {
		return &source{path: settings.Text("path")}, nil
	})
}
