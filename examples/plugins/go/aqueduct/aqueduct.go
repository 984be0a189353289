// Package aqueduct runs plug-ins of Aqueduct, with the standard library only.
// docs/plugins.md explains them.
//
// A plug-in implements Interceptor, Sink or Source. Run connects to the agent
// and serves it until the agent closes the connection. Lines that a plug-in
// prints are in the log of the agent.
package aqueduct

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const version = 1

// Event has a body and headers. ID identifies an event for a sink: it is the
// same whenever the event is sent again.
type Event struct {
	Body    []byte
	Headers map[string]string
	ID      string
}

// Settings is the table settings of the component.
type Settings map[string]any

// Text returns a setting as text; empty if it is not set.
func (s Settings) Text(name string) string {
	text, _ := s[name].(string)
	return text
}

// Interceptor returns the events that replace an event: itself, others, or
// none to drop it. An error makes the event a dead letter.
type Interceptor interface {
	Intercept(event Event) ([]Event, error)
}

// Effect marks an interceptor that may have another result for the same event.
type Effect interface{ HasEffect() bool }

// Sink stores events. It returns nil if all are stored permanently, otherwise
// one error for each event: nil, Refuse, or any other error to send it again.
type Sink interface {
	Deliver(events []Event) []error
}

// Source returns an event and the position after it, or nil if there is no
// event now. Start gets the last stored position; empty at the first start.
type Source interface {
	Start(position []byte) error
	Next() (*Event, []byte, error)
}

// Refuse is the error of an event that can never be stored.
type Refuse struct{ Reason string }

func (r Refuse) Error() string { return r.Reason }

// All returns the same error for each event.
func All(events []Event, err error) []error {
	all := make([]error, len(events))
	for i := range all {
		all[i] = err
	}
	return all
}

type message struct{ bytes []byte }

func (m *message) number(field int, value uint64) {
	m.bytes = binary.AppendUvarint(m.bytes, uint64(field)<<3)
	m.bytes = binary.AppendUvarint(m.bytes, value)
}

func (m *message) data(field int, value []byte) {
	m.bytes = binary.AppendUvarint(m.bytes, uint64(field)<<3|2)
	m.bytes = binary.AppendUvarint(m.bytes, uint64(len(value)))
	m.bytes = append(m.bytes, value...)
}

func (m *message) event(field int, event Event) {
	inner := message{}
	inner.data(1, event.Body)
	for name, value := range event.Headers {
		header := message{}
		header.data(1, []byte(name))
		header.data(2, []byte(value))
		inner.data(2, header.bytes)
	}
	m.data(field, inner.bytes)
}

// each calls f with every field of a message: its number, and its value.
func each(data []byte, f func(field int, number uint64, value []byte)) {
	for len(data) > 0 {
		key, n := binary.Uvarint(data)
		number, m := binary.Uvarint(data[n:])
		data = data[n+m:]
		var value []byte
		if key&7 == 2 {
			value, data = data[:number], data[number:]
		}
		f(int(key>>3), number, value)
	}
}

func addHeader(headers map[string]string, data []byte) {
	var name, text string
	each(data, func(field int, _ uint64, value []byte) {
		if field == 1 {
			name = string(value)
		} else if field == 2 {
			text = string(value)
		}
	})
	headers[name] = text
}

type request struct {
	kind                          int
	number, events, bytes, waitMs uint64
	indices                       []uint64
	batch                         []Event
}

// parse reads a Batch or a Next.
func parse(kind int, data []byte) request {
	r := request{kind: kind}
	shared, identity := map[string]string{}, ""
	each(data, func(field int, number uint64, value []byte) {
		switch {
		case field == 1:
			r.number = number
		case kind == 3 && field == 2:
			r.events = number
		case kind == 3 && field == 3:
			r.bytes = number
		case kind == 3 && field == 4:
			r.waitMs = number
		case field == 3:
			addHeader(shared, value)
		case field == 4:
			identity = string(value)
		}
	})
	if kind != 2 {
		return r
	}
	each(data, func(field int, _ uint64, value []byte) {
		if field != 2 {
			return
		}
		event, index := Event{Headers: map[string]string{}}, uint64(0)
		for name, text := range shared {
			event.Headers[name] = text
		}
		each(value, func(field int, number uint64, value []byte) {
			switch field {
			case 1:
				event.Body = value
			case 2:
				addHeader(event.Headers, value)
			case 3:
				index = number
			}
		})
		event.ID = fmt.Sprintf("%s/%d", identity, index)
		r.batch, r.indices = append(r.batch, event), append(r.indices, index)
	})
	return r
}

func intercept(plugin Interceptor, r request, answer *message) {
	for i, event := range r.batch {
		result := message{}
		result.number(1, r.indices[i])
		events, err := plugin.Intercept(event)
		if err != nil {
			result.data(4, []byte(err.Error()))
		} else {
			for _, event := range events {
				result.event(2, event)
			}
		}
		answer.data(2, result.bytes)
	}
}

func deliver(plugin Sink, r request, answer *message) {
	failures := plugin.Deliver(r.batch)
	for i, index := range r.indices {
		outcome := message{}
		outcome.number(1, index)
		outcome.number(2, index)
		if failures != nil && failures[i] != nil {
			verdict := uint64(1)
			if errors.As(failures[i], &Refuse{}) {
				verdict = 2
			}
			outcome.number(3, verdict)
			outcome.data(4, []byte(failures[i].Error()))
		}
		answer.data(2, outcome.bytes)
	}
}

func produce(plugin Source, r request, answer *message) error {
	until := time.Now().Add(time.Duration(r.waitMs) * time.Millisecond)
	var position []byte
	for events := uint64(0); events < r.events && uint64(len(answer.bytes)) < r.bytes; events++ {
		event, after, err := plugin.Next()
		if err != nil {
			return err
		}
		if event == nil {
			break
		}
		answer.event(2, *event)
		position = after
		if time.Now().After(until) {
			break
		}
	}
	answer.data(3, position)
	return nil
}

// Run serves the agent; create makes the plug-in from its settings. It exits
// when the agent closes the connection.
func Run(kind string, create func(Settings) (any, error)) {
	connection, err := net.Dial("unix", os.Getenv("AQUEDUCT_PLUGIN_SOCKET"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	reader := bufio.NewReaderSize(connection, 1<<16)
	receive := func() (int, []byte) {
		var length [4]byte
		if _, err := io.ReadFull(reader, length[:]); err != nil {
			os.Exit(0)
		}
		frame := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err := io.ReadFull(reader, frame); err != nil {
			os.Exit(0)
		}
		kind, data := 0, []byte(nil)
		each(frame, func(field int, _ uint64, value []byte) { kind, data = field, value })
		return kind, data
	}
	send := func(kind int, inner message) {
		outer := message{}
		outer.data(kind, inner.bytes)
		frame := binary.BigEndian.AppendUint32(nil, uint32(len(outer.bytes)))
		if _, err := connection.Write(append(frame, outer.bytes...)); err != nil {
			os.Exit(0)
		}
	}
	fail := func(err error) {
		reason := message{}
		reason.data(1, []byte(err.Error()))
		send(5, reason)
		os.Exit(1)
	}
	_, hello := receive()
	settings, position := Settings{}, []byte(nil)
	each(hello, func(field int, _ uint64, value []byte) {
		if field == 4 {
			err = json.Unmarshal(value, &settings)
		} else if field == 6 {
			position = value
		}
	})
	var plugin any
	if err == nil {
		plugin, err = create(settings)
	}
	if err != nil {
		fail(err)
	}
	role := ""
	switch it := plugin.(type) {
	case Interceptor:
		role = "interceptor"
	case Sink:
		role = "sink"
	case Source:
		role = "source"
		if err := it.Start(position); err != nil {
			fail(err)
		}
	}
	welcome := message{}
	welcome.number(1, version)
	welcome.data(2, []byte(role))
	welcome.data(3, []byte(kind))
	if it, ok := plugin.(Effect); ok && it.HasEffect() {
		welcome.number(4, 1)
	}
	send(1, welcome)
	for {
		r := parse(receive())
		answer := message{}
		answer.number(1, r.number)
		switch it := plugin.(type) {
		case Interceptor:
			intercept(it, r, &answer)
			send(2, answer)
		case Sink:
			deliver(it, r, &answer)
			send(3, answer)
		case Source:
			if err := produce(it, r, &answer); err != nil {
				fail(err)
			}
			send(4, answer)
		}
	}
}
