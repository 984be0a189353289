package aqueduct.flume;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.flume.Channel;
import org.apache.flume.ChannelException;
import org.apache.flume.ChannelSelector;
import org.apache.flume.channel.BasicChannelSemantics;
import org.apache.flume.channel.BasicTransactionSemantics;
import org.apache.flume.channel.ChannelSelectorFactory;

/** A channel selector. Its required and its optional channels of an event are the agent's choice. */
final class Selectors implements Bridge.Role {
  private final Connection connection;
  private final ChannelSelector selector;
  private final Map<String, Integer> indices = new HashMap<>();
  private final Wire.Writer answer = new Wire.Writer();
  private final Wire.Writer choice = new Wire.Writer();

  /** A channel that has only its name. */
  private static final class Named extends BasicChannelSemantics {
    Named(String name) {
      setName(name);
    }

    @Override
    protected BasicTransactionSemantics createTransaction() {
      throw new ChannelException("a selector only chooses channels");
    }
  }

  Selectors(Connection connection, Map<String, String> properties, List<String> channels) {
    this.connection = connection;
    List<Channel> all = new ArrayList<>();
    for (String name : channels) {
      indices.put(name, all.size());
      all.add(new Named(name));
    }
    selector = ChannelSelectorFactory.create(all, properties);
  }

  @Override
  public void batch(Wire.Batch batch) throws Exception {
    answer.reset();
    answer.number(1, batch.number);
    for (AgentEvent event : batch.events) {
      TreeSet<Integer> chosen = new TreeSet<>();
      add(selector.getRequiredChannels(event), chosen);
      add(selector.getOptionalChannels(event), chosen);
      choice.reset();
      answer.message(2, choice.numbers(1, chosen));
    }
    connection.write(Bridge.SELECTED, answer);
  }

  private void add(List<Channel> channels, TreeSet<Integer> chosen) {
    if (channels != null) {
      channels.forEach(channel -> chosen.add(indices.get(channel.getName())));
    }
  }

  @Override
  public void close() {}
}
