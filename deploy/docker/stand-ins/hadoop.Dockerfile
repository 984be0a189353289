# In place of apache/hadoop:3.4.1: the daemons and the shell, as Java classes without the scripts.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/*
COPY lib /opt/hadoop/lib
COPY hdfs /opt/hadoop/bin/hdfs
# The published jars carry no web pages, and the daemons do not start without their folders.
RUN mkdir -p /opt/hadoop/pages/webapps/hdfs /opt/hadoop/pages/webapps/datanode \
    /opt/hadoop/pages/webapps/static
ENV PATH=/opt/hadoop/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
