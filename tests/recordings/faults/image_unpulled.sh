# The image may not be pulled, and is not on the node.
pattern=image_pull
service=cart
fault() { image=localhost/shop/cart:1.4.3; app cart 'sleep 1000' 'imagePullPolicy: Never'; }
