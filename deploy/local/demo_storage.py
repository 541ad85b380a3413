# SPDX-License-Identifier: Apache-2.0
"""\
usage: .local/storage/bin/python deploy/local/demo_storage.py BUCKET WEBHOOK TOKEN_FILE

A stand-in for S3 on 127.0.0.1 with one bucket, which tells a webhook of each object that is stored
or removed, as S3 does: soon, in no order, and one of twenty twice. Prints its address. Notifications
that the webhook does not take are sent again.
"""

import concurrent.futures
import json
import logging
import os
import random
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
SENDERS = 8
REPEATED = 0.05
AT_ONCE = 10  # the most that a queue gives
PAUSE_SECONDS = 0.2


def client(service, url):
    return boto3.client(service, endpoint_url=url, region_name=REGION,
                        aws_access_key_id="demo", aws_secret_access_key="demo")


def serve(bucket):
    """Starts it; its address, and where its notifications come."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://%s:%d" % server.get_host_and_port()
    queue, storage = client("sqs", url), client("s3", url)
    queue_url = queue.create_queue(QueueName="notifications")["QueueUrl"]
    arn = queue.get_queue_attributes(QueueUrl=queue_url,
                                     AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    storage.create_bucket(Bucket=bucket)
    storage.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [
            {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]})
    return url, queue, queue_url


def deliver(webhook, token, body):
    """Whether the webhook has taken it."""
    request = urllib.request.Request(webhook, body.encode(), {
        "Content-Type": "application/json", "Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30):
            return True
    except urllib.error.HTTPError as error:
        print(f"{error.code}: {error.read().decode(errors='replace').strip()}", file=sys.stderr)
    except OSError as error:
        print(f"{webhook}: {error}", file=sys.stderr)
    return False


def pass_on(queue, queue_url, webhook, token):
    """For ever."""
    chance = random.Random("notifications")
    with concurrent.futures.ThreadPoolExecutor(SENDERS) as senders:
        while True:
            messages = queue.receive_message(
                QueueUrl=queue_url, MaxNumberOfMessages=AT_ONCE).get("Messages", [])
            # What moto says to test a configuration is none of an object.
            told = [one for one in messages if "Records" in json.loads(one["Body"])]
            told += [one for one in told if chance.random() < REPEATED]
            chance.shuffle(told)
            taken = list(senders.map(lambda one: deliver(webhook, token, one["Body"]), told))
            refused = {one["MessageId"] for one, well in zip(told, taken) if not well}
            done = [{"Id": one["MessageId"], "ReceiptHandle": one["ReceiptHandle"]}
                    for one in messages if one["MessageId"] not in refused]
            if done:
                queue.delete_message_batch(QueueUrl=queue_url, Entries=done)
            if not messages or refused:
                time.sleep(PAUSE_SECONDS)


def main(bucket, webhook, token_file):
    os.environ["NO_PROXY"] = "*"
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
    url, queue, queue_url = serve(bucket)
    print(url, flush=True)
    pass_on(queue, queue_url, webhook, Path(token_file).read_text(encoding="utf-8").strip())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print(__doc__, end="")
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    main(*sys.argv[1:])
