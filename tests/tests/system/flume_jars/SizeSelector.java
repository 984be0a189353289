package com.example.flume;

import java.util.ArrayList;
import java.util.List;
import org.apache.flume.Channel;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.channel.AbstractChannelSelector;

/** The header `level` or a long body decides. Errors go to `alarms` too; `none` goes nowhere. */
public class SizeSelector extends AbstractChannelSelector {
  private int most;
  private String alarms;

  @Override
  public void configure(Context context) {
    most = context.getInteger("most", 20);
    alarms = context.getString("alarms");
  }

  @Override
  public List<Channel> getRequiredChannels(Event event) {
    List<Channel> chosen = new ArrayList<>();
    String level = event.getHeaders().get("level");
    if (!"none".equals(level)) {
      String name = event.getBody().length > most ? "long" : "short";
      chosen.add(getChannelNameMap().get(name));
    }
    return chosen;
  }

  @Override
  public List<Channel> getOptionalChannels(Event event) {
    boolean isError = "error".equals(event.getHeaders().get("level"));
    return isError ? List.of(getChannelNameMap().get(alarms)) : List.of();
  }
}
