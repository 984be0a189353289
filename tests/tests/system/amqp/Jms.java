// Applications of JMS 2.0, over AMQP 1.0:
//
//   Jms send    URL queue|topic NAME PREFIX FROM TO   texts `PREFIX-n` with properties, 100 in a transaction
//   Jms kinds   URL NAME                              one message of each kind
//   Jms receive URL NAME COUNT                        prints messages until COUNT different ones are there

import java.util.HashSet;
import java.util.Set;
import javax.jms.BytesMessage;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.qpid.jms.JmsConnectionFactory;

public final class Jms {
    public static void main(String[] arguments) throws Exception {
        Connection connection = new JmsConnectionFactory(arguments[1]).createConnection();
        connection.start();
        switch (arguments[0]) {
            case "send" -> send(connection, arguments);
            case "kinds" -> kinds(connection, arguments[2]);
            case "receive" -> receive(connection, arguments[2], Integer.parseInt(arguments[3]));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        connection.close();
    }

    private static void send(Connection connection, String[] arguments) throws Exception {
        Session session = connection.createSession(true, Session.SESSION_TRANSACTED);
        Destination to = arguments[2].equals("queue")
            ? session.createQueue(arguments[3]) : session.createTopic(arguments[3]);
        MessageProducer producer = session.createProducer(to);
        producer.setDeliveryMode(DeliveryMode.PERSISTENT);
        int from = Integer.parseInt(arguments[5]);
        int end = Integer.parseInt(arguments[6]);
        for (int n = from; n < end; n++) {
            TextMessage message = session.createTextMessage(arguments[4] + "-" + n);
            message.setStringProperty("site", n % 2 == 0 ? "Zürich" : "Bern");
            message.setIntProperty("n", n);
            producer.send(message);
            if ((n + 1 - from) % 100 == 0) {
                session.commit();
            }
        }
        session.commit();
    }

    private static void kinds(Connection connection, String name) throws Exception {
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageProducer producer = session.createProducer(session.createQueue(name));
        TextMessage text = session.createTextMessage("text, Zürich");
        text.setJMSCorrelationID("correlated");
        text.setJMSType("kind");
        text.setBooleanProperty("flag", true);
        text.setLongProperty("long", 1L << 40);
        text.setDoubleProperty("double", 0.5);
        text.setStringProperty("string", "straße");
        producer.send(text);
        BytesMessage bytes = session.createBytesMessage();
        bytes.writeBytes(new byte[] {'b', 'y', 't', 'e', 's', ' ', 0, 1});
        producer.send(bytes);
        MapMessage map = session.createMapMessage();
        map.setString("key", "value");
        producer.send(map);
        producer.send(session.createObjectMessage("object"));
        producer.send(session.createTextMessage("last"));
    }

    private static void receive(Connection connection, String name, int count) throws Exception {
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(session.createQueue(name));
        Set<String> bodies = new HashSet<>();
        StringBuilder lines = new StringBuilder();
        // What comes again comes behind the others.
        Message message;
        while ((message = consumer.receive(bodies.size() < count ? 20000 : 1000)) != null) {
            String body;
            if (message instanceof TextMessage text) {
                body = "text " + text.getText();
            } else {
                body = "bytes " + new String(message.getBody(byte[].class), "UTF-8");
            }
            bodies.add(body);
            lines.append(message.getStringProperty("site")).append(' ')
                .append(message.getJMSDeliveryMode()).append(' ').append(body).append('\n');
        }
        System.out.write(lines.toString().getBytes("UTF-8"));
        System.out.flush();
    }
}
